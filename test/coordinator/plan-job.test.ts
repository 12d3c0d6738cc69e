import { describe, expect, it } from 'vitest';
import { frameOf, type PlannedTask } from '../../coordinator/splitting/grid.ts';
import { type JobPlan, planJob } from '../../coordinator/submission/plan-job.ts';
import { taskPrice } from '../../coordinator/submission/quote.ts';
import { type ErrorCode, FarmError } from '../../protocol/errors.ts';
import { type JobRequest, jobSpecSchema } from '../../protocol/job.ts';
import { DEVICE_CLASS, ENGINE, inspection, SCENE } from '../support/coordinator-context.ts';

const engine = { id: ENGINE, version: '3.4.1', deviceClass: DEVICE_CLASS };
const request = (changes: Partial<JobRequest> = {}): JobRequest => ({
  scene: SCENE,
  name: 'scene.blend',
  ...changes,
});

/** All of them, as the windows of a job make them. */
const tasksOf = ({ grid }: JobPlan): PlannedTask[] =>
  Array.from({ length: grid.framesTotal }, (_, turn) => frameOf(grid, turn).tasks).flat();

function refusal(work: () => unknown): FarmError {
  try {
    work();
  } catch (error) {
    if (error instanceof FarmError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('planning a job', () => {
  it('takes frames, samples, region and picture from the scene where nothing was asked for', () => {
    const border = { x: 100, y: 50, width: 640, height: 360 };
    const scene = inspection({
      frameStart: 10,
      frameEnd: 20,
      frameStep: 5,
      samples: 48,
      region: border,
      picture: border,
    });
    const plan = planJob(request(), scene, engine);
    expect(plan.spec).toMatchObject({
      frames: [10, 15, 20],
      samples: 48,
      engine: ENGINE,
      region: border,
      picture: border,
      fullFrame: { width: 1920, height: 1080 },
    });
    expect(jobSpecSchema.safeParse(plan.spec).success).toBe(true);
  });

  it('keeps the order of the frames that were asked for', () => {
    expect(planJob(request({ frames: [7, 3, 5] }), inspection(), engine).spec.frames).toEqual([7, 3, 5]);
  });

  it('chooses a grid for auto, and takes the one that was asked for', () => {
    const tiles = { columns: 3, rows: 2 };
    expect(planJob(request({ tiles, frames: [1] }), inspection(), engine).grid.tilesPerFrame).toBe(6);
    expect(
      planJob(request({ tiles: 'auto', frames: [1] }), inspection(), engine).grid.tilesPerFrame,
    ).toBeGreaterThan(1);
  });

  it('plans for each frame its tiles in order and then one finish task over the whole region', () => {
    const scene = inspection();
    const plan = planJob(request({ frames: [4, 2], tiles: { columns: 2, rows: 1 } }), scene, engine);
    expect(tasksOf(plan).map(({ kind, frame, tile }) => `${kind} ${frame} ${tile}`)).toEqual([
      'render 4 0',
      'render 4 1',
      'finish 4 0',
      'render 2 0',
      'render 2 1',
      'finish 2 0',
    ]);
    expect(tasksOf(plan).map((task) => task.position)).toEqual([0, 1, 2, 3, 4, 5]);
    for (const task of tasksOf(plan)) if (task.kind === 'finish') expect(task.rect).toEqual(scene.region);
  });

  it('plans one task for each frame that is not tiled, at the price of rendering and finishing it', () => {
    const scene = inspection();
    const plan = planJob(
      request({ frames: [4, 2], tiles: { columns: 1, rows: 1 }, samples: 64 }),
      scene,
      engine,
    );
    expect(tasksOf(plan).map(({ kind, frame, tile, position }) => [kind, frame, tile, position])).toEqual([
      ['frame', 4, 0, 0],
      ['frame', 2, 0, 1],
    ]);
    const price = taskPrice('render', scene.region, 64) + taskPrice('finish', scene.region, 64);
    for (const task of tasksOf(plan)) expect(task).toMatchObject({ rect: scene.region, samples: 64, price });
    expect(plan).toMatchObject({ grid: { tilesPerFrame: 1 }, quote: 2n * price, maxTaskPrice: price });
  });

  it('asks for EXRs only where the artist did', () => {
    expect(planJob(request(), inspection(), engine).spec.exr).toBe(false);
    expect(planJob(request({ exr: true }), inspection(), engine).spec.exr).toBe(true);
  });

  it.each([
    ['before the first', [0, 1], 0],
    ['after the last', [24, 25], 25],
    ['negative', [-1], -1],
  ])('refuses a frame %s frame of the scene and names it with the range', (_what, frames, outside) => {
    const error = refusal(() => planJob(request({ frames }), inspection(), engine));
    expect(error.code).toBe('FRAMES_OUTSIDE_SCENE');
    expect(error.message).toContain(`frame ${outside} `);
    expect(error.message).toContain('1-24');
    expect(error.kept).toBe('nothing was submitted');
  });

  it('takes the first and the last frame of the scene', () => {
    expect(planJob(request({ frames: [1, 24] }), inspection(), engine).spec.frames).toEqual([1, 24]);
  });

  it.each<[string, JobRequest, ErrorCode]>([
    ['an empty frame list', request({ frames: [] }), 'FRAMES_INVALID'],
    ['0 samples', request({ samples: 0 }), 'SAMPLES_INVALID'],
    ['negative samples', request({ samples: -5 }), 'SAMPLES_INVALID'],
    ['half a sample', request({ samples: 0.5 }), 'SAMPLES_INVALID'],
    ['more samples than Blender takes', request({ samples: 65_537 }), 'SAMPLES_INVALID'],
    ['tiles smaller than the smallest', request({ tiles: { columns: 256, rows: 256 } }), 'TILES_INVALID'],
  ])('refuses %s and submits nothing', (_what, asked, code) => {
    const error = refusal(() => planJob(asked, inspection(), engine));
    expect(error.code).toBe(code);
    expect(error.kept).toContain('nothing was submitted');
  });

  it('refuses a scene whose own frame range is empty', () => {
    const scene = inspection({ frameStart: 10, frameEnd: 5 });
    expect(refusal(() => planJob(request(), scene, engine)).code).toBe('FRAMES_INVALID');
  });

  it('does not hang on a scene whose frame step is 0', () => {
    expect(planJob(request(), inspection({ frameStep: 0 }), engine).spec.frames).toHaveLength(24);
  });

  it('takes a budget of exactly the quote and refuses one unit less, naming the quote', () => {
    const { quote } = planJob(request(), inspection(), engine);
    expect(planJob(request({ budget: quote }), inspection(), engine).quote).toBe(quote);
    const error = refusal(() => planJob(request({ budget: (quote - 1n).toString() }), inspection(), engine));
    expect(error.code).toBe('BUDGET_TOO_LOW');
    expect(error.message).toContain(quote.toString());
    expect(error.details).toEqual({ quote: quote.toString(), budget: (quote - 1n).toString() });
  });

  it('refuses a job of more tasks than anybody means', () => {
    const scene = inspection({ frameEnd: 50_000 });
    const error = refusal(() => planJob(request({ tiles: { columns: 32, rows: 32 } }), scene, engine));
    expect(error.code).toBe('TOO_LARGE');
  });
});

describe('planning frames of simulations', () => {
  const flag = { object: 'Flag', kind: 'cloth', firstFrame: 5 };
  const brick = { object: 'Brick', kind: 'rigid body', firstFrame: 1 };
  const frames = (wanted: number[], ...unbaked: (typeof flag)[]) =>
    planJob(request({ frames: wanted }), inspection({ unbaked }), engine).spec.frames;

  it('takes every frame where all is baked, and of scenes that were inspected before this was looked at', () => {
    expect(frames([9, 3])).toEqual([9, 3]);
    expect(planJob(request({ frames: [9] }), inspection(), engine).spec.frames).toEqual([9]);
  });

  it('takes the first frame of a simulation, and those before it', () => {
    expect(frames([1, 5], flag)).toEqual([1, 5]);
    expect(frames([1], flag, brick)).toEqual([1]);
  });

  it('refuses a later one, with what is to be baked and how', () => {
    const error = refusal(() => frames([1, 2], flag, brick));
    expect(error.code).toBe('SCENE_NOT_BAKED');
    expect(error.message).toContain('frame 2 needs the frames before it');
    expect(error.message).toContain('cloth of "Flag", rigid body of "Brick"');
    expect(error.kept).toBe('nothing was submitted, no money moved');
    expect(error.help).toContain('Bake');
    expect(error.details).toEqual({ simulations: [flag, brick], lastFreeFrame: 1 });
  });

  it('names three and counts the rest', () => {
    expect(refusal(() => frames([9], flag, brick, flag, brick, flag)).message).toMatch(/ and 2 more$/);
  });
});
