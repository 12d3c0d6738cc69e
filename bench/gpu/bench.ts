/**
 * What this machine's GPUs do, to be run on a machine that has some: every engine on every device that Blender reports,
 * CUDA beside OptiX on the same card, and the CPU. The first render of a session loads its kernels and scene, so
 * there are two; a second session renders the frame again, and what differs is counted.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../platform/package-root.ts';
import { findEngines } from '../../platform/render/engines.ts';
import { bindDevice } from '../../platform/render/gpu/cards.ts';
import { nvidiaCards } from '../../platform/render/gpu/nvidia.ts';
import type { RenderRuntime } from '../../platform/render/runtime.ts';
import { compareCrops } from '../../proof/compare.ts';
import { type PixelImage, readRawPixels } from '../../proof/pixels.ts';
import { toFarmError } from '../../protocol/errors.ts';
import { type Report, type Row, thisMachine } from '../lib/report.ts';

/** A GPU is done with it in moments; the CPU beside it takes seconds, and not minutes, for each of its renders. */
const SAMPLES = 32;
const SCENE = { root: join(packageRoot(), 'samples/turntable'), main: 'turntable.blend' };

type Say = (line: string) => void;
type Frame = { seconds: number[]; pixels: PixelImage };

export async function run(signal: AbortSignal, say: Say): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-bench-'));
  const rows: Row[] = [];
  try {
    const engines = await findEngines({ signal, choice: 'auto', tempFolder: folder, onNote: say });
    const cards = await nvidiaCards(signal);
    for (const card of cards) say(`${card.name}: compute capability ${card.computeCapability ?? 'not told'}`);
    let gpus = 0;
    for (const engine of engines) {
      const cpu = await measured(engine, null, folder, rows, signal, say);
      for (const device of (await engine.gpus?.report(signal)) ?? []) {
        if (device.type === 'CPU') continue;
        gpus += 1;
        try {
          const bound = engine.gpus?.on(bindDevice(device, cards));
          if (bound !== undefined) await measured(bound, cpu, folder, rows, signal, say);
        } catch (error) {
          if (signal.aborted) throw error;
          const { code, message } = toFarmError(error);
          say(`${engine.engine.id} does not render on ${device.name} (${device.type}): ${code}: ${message}`);
        }
      }
    }
    if (gpus === 0) say('no engine of this machine reports a GPU: these are the figures of its CPU alone');
    return { bench: 'gpu', machine: thisMachine(), goals: [], rows };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Adds the row of one device; gives its pixels. */
async function measured(
  runtime: RenderRuntime,
  cpu: PixelImage | null,
  folder: string,
  rows: Row[],
  signal: AbortSignal,
  say: Say,
): Promise<PixelImage> {
  const { id, deviceClass, device } = runtime.engine;
  say(`${id} on ${device?.name ?? 'the CPU'} (${deviceClass})`);
  const [one, two] = [await rendered(runtime, folder, signal), await rendered(runtime, folder, signal)];
  rows.push({
    engine: id,
    device: device?.name ?? 'CPU',
    class: deviceClass,
    'first render s': one.seconds[0] ?? 0,
    'second render s': one.seconds[1] ?? 0,
    'values that differ between two sessions': String(differing(one.pixels, two.pixels)),
    'pixels that match between them': String(compareCrops(one.pixels, two.pixels).pixelMatchFraction ?? '-'),
    'pixels that match the CPU':
      cpu === null ? '' : String(compareCrops(cpu, one.pixels).pixelMatchFraction ?? '-'),
  });
  return one.pixels;
}

/** Two renders of the scene's frame in one session, and the pixels of the second. */
async function rendered(runtime: RenderRuntime, folder: string, signal: AbortSignal): Promise<Frame> {
  await using session = await runtime.open(SCENE, { signal, threads: availableParallelism() });
  const { region: rect, frameCurrent: frame } = await session.inspect({ signal });
  const output = join(folder, 'frame.exr');
  const seconds: number[] = [];
  for (let turn = 0; turn < 2; turn++) {
    const { renderMs } = await session.render({ frame, rect, samples: SAMPLES, output }, { signal });
    seconds.push(renderMs / 1_000);
  }
  const { rawPath } = await session.readPixels({ exr: output, output: `${output}.raw` }, { signal });
  return { seconds, pixels: readRawPixels(await readFile(rawPath)) };
}

function differing(a: PixelImage, b: PixelImage): number {
  let count = 0;
  for (const [index, value] of a.data.entries()) if (!Object.is(value, b.data[index])) count += 1;
  return count;
}
