import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sample, startTestFarm, type TestFarm } from '../support/farm.ts';
import { differingValues, withBareRender } from '../support/pictures.ts';

/** 7x4 divides neither 960x540 nor 480x270 nor 640x360 evenly in both directions (270 / 4, 640 / 7 …). */
const GRIDS = [
  { columns: 1, rows: 1 },
  { columns: 7, rows: 4 },
];

/** The turntable has its own number; of the large ones each sample takes a second and shows nothing new. */
const FEW_SAMPLES = 4;

const SCENES: { name: string; frame: number; request: { frames?: number[]; samples?: number } }[] = [
  { name: 'turntable', frame: 5, request: { frames: [5] } },
  // Stills say themselves that they are one frame.
  { name: 'project', frame: 1, request: { samples: FEW_SAMPLES } },
  { name: 'still', frame: 1, request: { samples: FEW_SAMPLES } },
];

describe('a sample rendered by the farm equals what Blender alone writes', () => {
  let farm: TestFarm;
  beforeAll(async () => {
    // Long timers: this is about pixels, and the machine may be busy.
    farm = await startTestFarm({ leaseMs: 30_000 });
  });
  afterAll(async () => {
    await farm[Symbol.asyncDispose]();
  });

  test.each(SCENES)(
    '$name, in one piece and in 7x4 tiles',
    { timeout: 1_800_000 },
    async ({ name, frame, request }) => {
      const compare = async (bare: string): Promise<void> => {
        for (const tiles of GRIDS) {
          const job = await farm.submit(sample(name), { ...request, tiles });
          const { files } = await farm.finish(job.id);
          expect(files.map((file) => file.frame)).toEqual([frame]);
          const { differing, values } = await differingValues(bare, files[0]?.picture ?? '');
          console.log(`${name} ${tiles.columns}x${tiles.rows}: ${differing} of ${values} values differ`);
          expect(differing).toBe(0);
          expect(values).toBe(job.spec.fullFrame.width * job.spec.fullFrame.height * 3);
        }
      };
      await withBareRender(sample(name), frame, compare, request.samples);
    },
  );
});
