/** One scene on one device class, both ways: as a node claims its crops, and as a verifier makes its reference of them. */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { COMMAND_TIMEOUT_MS } from '../../platform/checking/tools.ts';
import type { RenderRuntime, RenderSession, SceneFolder } from '../../platform/render/runtime.ts';
import { compareCrops } from '../../proof/compare.ts';
import { meanOfHalves } from '../../proof/halves.ts';
import { type PixelImage, readRawPixels } from '../../proof/pixels.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { PlannedTile } from './plan-crops.ts';

export type CalibrationScene = { name: string; folder: SceneFolder };

/** `whole` is null where the mean of the halves is the whole. */
export type ReferenceFiles = { halves: [first: string, second: string]; whole: string | null };

/** Files of raw pixels, one of each per crop of the plan and in its order. Files, since a scene may have many passes. */
export type RenderedClass = { claims: string[]; references: ReferenceFiles[] };

export type RenderWork = {
  scene: CalibrationScene;
  plan: readonly PlannedTile[];
  /** Even, so that both halves have as many. */
  samples: number;
  /** An existing folder for this class and scene. */
  folder: string;
  signal: AbortSignal;
  /** After every crop, of the claims and of the references. */
  onCrop: () => void;
  onNote: (note: string) => void;
};

/**
 * Claims and references come from two sessions, one after the other: what a second Blender does differently is part of
 * what is measured.
 */
export async function renderClass(runtime: RenderRuntime, work: RenderWork): Promise<RenderedClass> {
  const claims = await inSession(runtime, work, (session) => renderClaims(session, work));
  const references = await inSession(runtime, work, (session) => renderReferences(session, work));
  return { claims, references };
}

async function inSession<T>(
  runtime: RenderRuntime,
  { scene, signal }: RenderWork,
  use: (session: RenderSession) => Promise<T>,
): Promise<T> {
  await using session = await runtime.open(scene.folder, { signal, threads: availableParallelism() });
  return await use(session);
}

/** Whole tiles, as nodes render them, and what of them would have been drawn. */
async function renderClaims(session: RenderSession, work: RenderWork): Promise<string[]> {
  const claims: string[] = [];
  for (const { frame, rect, crops } of work.plan) {
    const exr = await render(session, { frame, rect, samples: work.samples }, work);
    for (const { x, y, width, height } of crops) {
      const part = { x: x - rect.x, y: y - rect.y, width, height };
      claims.push(await decode(session, exr, `claim-${claims.length}`, work, part));
      work.onCrop();
    }
  }
  return claims;
}

async function renderReferences(session: RenderSession, work: RenderWork): Promise<ReferenceFiles[]> {
  const references: ReferenceFiles[] = [];
  let whole = false;
  for (const { frame, crops } of work.plan) {
    for (const rect of crops) {
      const place = { frame, rect };
      const index = references.length;
      if (index === 0) whole = !(await halvesMakeWhole(session, place, work));
      references.push({
        halves: await renderHalves(session, place, `half-${index}`, work),
        whole: whole ? await renderWhole(session, place, `whole-${index}`, work) : null,
      });
      work.onCrop();
    }
  }
  return references;
}

type Place = { frame: number; rect: Rect };

async function renderHalves(
  session: RenderSession,
  place: Place,
  name: string,
  work: RenderWork,
): Promise<[string, string]> {
  const samples = work.samples / 2;
  const one = async (sampleOffset: number): Promise<string> => {
    const exr = await render(session, { ...place, samples, sampleOffset }, work);
    return await decode(session, exr, `${name}-${sampleOffset}`, work);
  };
  return [await one(0), await one(samples)];
}

async function renderWhole(session: RenderSession, place: Place, name: string, work: RenderWork) {
  const exr = await render(session, { ...place, samples: work.samples }, work);
  return await decode(session, exr, name, work);
}

/**
 * Not where a sample depends on how many there are: with blue noise (the default of scenes made with Blender 4.3) and
 * with adaptive sampling. There the mean of two halves is another picture, and every honest crop would look like a fake.
 */
async function halvesMakeWhole(session: RenderSession, place: Place, work: RenderWork): Promise<boolean> {
  const [first, second] = await renderHalves(session, place, 'check', work);
  const whole = await readPixels(await renderWhole(session, place, 'check-whole', work));
  const mean = meanOfHalves(await readPixels(first), await readPixels(second));
  const { outcome, pixelMatchFraction } = compareCrops(whole, mean);
  if (outcome === 'pass') return true;
  const match = (100 * (pixelMatchFraction ?? 0)).toFixed(1);
  const { id, deviceClass } = session.engine;
  work.onNote(
    `${work.scene.name} on ${id} ${deviceClass}: two halves of its samples are not the whole (${match} % of the pixels match; blue noise, adaptive sampling), so the whole is rendered beside them`,
  );
  return false;
}

type Sampled = Place & { samples: number; sampleOffset?: number };

/** One file for all: it is decoded before the next is rendered. */
async function render(session: RenderSession, command: Sampled, work: RenderWork): Promise<string> {
  const { folder, signal } = work;
  const output = join(folder, 'rendered.exr');
  await session.render({ ...command, output }, { signal, timeoutMs: COMMAND_TIMEOUT_MS });
  return output;
}

async function decode(
  session: RenderSession,
  exr: string,
  name: string,
  { folder, signal }: RenderWork,
  crop?: Rect,
): Promise<string> {
  const output = join(folder, `${name}.raw`);
  await session.readPixels({ exr, crop, output }, { signal, timeoutMs: COMMAND_TIMEOUT_MS });
  return output;
}

export async function readPixels(path: string): Promise<PixelImage> {
  return readRawPixels(await readFile(path));
}
