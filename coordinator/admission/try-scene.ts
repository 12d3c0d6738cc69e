/** Renders strips of a scene twice, each time in a Blender that has just loaded it. */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RenderRuntime, RenderSession, SceneFolder } from '../../platform/render/runtime.ts';
import { type PixelImage, readRawPixels } from '../../proof/pixels.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { Rect } from '../../protocol/rect.ts';
import { type Finding, judgeStrips, pixelsWithContent } from './judge-strips.ts';
import { type Strip, stripsOf } from './plan-strips.ts';

/** What is tried: all that has a say in the pixels but the number of samples. */
export type Trial = {
  scene: Digest;
  frames: readonly number[];
  region: Rect;
  /** Of the job; a trial takes few of them. */
  samples: number;
};

export type TryOptions = {
  runtime: RenderRuntime;
  folder: SceneFolder;
  /** A folder of this trial, made and removed here. */
  workFolder: string;
  threads: number;
  niceness: number | undefined;
  signal: AbortSignal;
};

/** A scene that is not the same twice shows it in the first samples: what moves the geometry moves all of them. */
const TRIAL_SAMPLES = 4;

/** Of each frame; one more costs some ten milliseconds, a Blender with its scene a second and more. */
const LEAST_STRIPS = 3;
const MOST_STRIPS = 8;

/** As many pixels as two crops of a challenge: less says too little, so more strips are drawn then. */
const ENOUGH_CONTENT = 2_048;

type Rendered = { strips: Strip[]; pixels: PixelImage[] };

/**
 * Two sessions, the second one in the opposite order of frames and strips: what a session remembers of an earlier frame
 * shows as well. What is neither the same nor clearly another picture is rendered a third time; who differs twice is
 * not the same.
 */
export async function tryScene(trial: Trial, options: TryOptions): Promise<Finding> {
  await mkdir(options.workFolder, { recursive: true, mode: 0o700 });
  try {
    const first = await inFreshSession(options, (session) => renderUntilEnough(session, trial, options));
    const again = (backwards: boolean) =>
      inFreshSession(options, (session) => renderAgain(session, first.strips, backwards, trial, options));
    const second = await again(true);
    const finding = judgeStrips(first.strips, first.pixels, second);
    if (finding.outcome !== 'inconclusive') return finding;
    return judgeStrips(first.strips, second, await again(false));
  } finally {
    await rm(options.workFolder, { recursive: true, force: true });
  }
}

async function inFreshSession<T>(
  { runtime, folder, threads, niceness, signal }: TryOptions,
  work: (session: RenderSession) => Promise<T>,
): Promise<T> {
  await using session = await runtime.open(folder, { signal, threads, niceness });
  return await work(session);
}

/** Frame by frame, more strips where the first ones showed little. */
async function renderUntilEnough(
  session: RenderSession,
  trial: Trial,
  options: TryOptions,
): Promise<Rendered> {
  const rendered: Rendered = { strips: [], pixels: [] };
  for (const frame of trial.frames) {
    let content = 0;
    let count = 0;
    for (const strip of stripsOf(trial.scene, frame, trial.region)) {
      const pixels = await renderStrip(session, strip, trial, options);
      rendered.strips.push(strip);
      rendered.pixels.push(pixels);
      content += pixelsWithContent(pixels);
      count += 1;
      if (count >= MOST_STRIPS || (count >= LEAST_STRIPS && content >= ENOUGH_CONTENT)) break;
    }
  }
  return rendered;
}

/** The pixels in the order of `strips`, whatever the order they are rendered in. */
async function renderAgain(
  session: RenderSession,
  strips: readonly Strip[],
  backwards: boolean,
  trial: Trial,
  options: TryOptions,
): Promise<PixelImage[]> {
  const pixels: PixelImage[] = [];
  for (const strip of backwards ? strips.toReversed() : strips)
    pixels.push(await renderStrip(session, strip, trial, options));
  return backwards ? pixels.toReversed() : pixels;
}

async function renderStrip(
  session: RenderSession,
  { frame, rect }: Strip,
  { samples }: Trial,
  { workFolder, signal }: TryOptions,
): Promise<PixelImage> {
  const exr = join(workFolder, 'strip.exr');
  const raw = join(workFolder, 'strip.raw');
  const few = Math.min(samples, TRIAL_SAMPLES);
  await session.render({ frame, rect, samples: few, output: exr }, { signal });
  await session.readPixels({ exr, output: raw }, { signal });
  return readRawPixels(await readFile(raw));
}
