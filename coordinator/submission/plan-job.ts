/** From what an artist asks for and what the scene is, to a job with every choice made. Pure: nothing is written here. */

import { exactFrameRate } from '../../platform/movies/frame-rate.ts';
import { isGpuClass } from '../../platform/render/device-choice.ts';
import type { EngineInfo, SceneInspection } from '../../platform/render/runtime.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { JobRequest, JobSpec } from '../../protocol/job.ts';
import { type FrameRun, runsOfFrames } from '../splitting/frame-runs.ts';
import { type Grid, gridOf, gridPrice } from '../splitting/grid.ts';
import { autoGrid } from '../splitting/tile-grid.ts';
import { chooseOutput } from './choose-output.ts';
import { requireBaked } from './require-baked.ts';

export type JobPlan = {
  spec: JobSpec;
  grid: Grid;
  runs: FrameRun[];
  tasksTotal: number;
  quote: bigint;
  maxTaskPrice: bigint;
};

/** A slip of the keyboard: nobody renders so many in the two weeks that a job has. */
const MAX_TASKS = 10_000_000;

/**
 * Plans a job. Throws FRAMES_OUTSIDE_SCENE, SCENE_NOT_BAKED, SAMPLES_INVALID, TILES_INVALID, BUDGET_TOO_LOW or TOO_LARGE with the value
 * that would work; in each case nothing has been changed.
 */
export function planJob(
  request: JobRequest,
  scene: SceneInspection,
  engine: Omit<EngineInfo, 'runtime'>,
): JobPlan {
  const frames = request.frames ?? sceneFrames(scene);
  checkFrames(frames, scene);
  requireBaked(frames, scene);
  const samples = request.samples ?? scene.samples;
  checkSamples(samples);
  const region = scene.region;
  const output = chooseOutput(request.output, scene);
  const tiles = chooseGrid(request.tiles, scene, samples, frames.length);
  const runs = runsOfFrames(frames);
  const previewFirst = request.previewFirst ?? false;
  const grid = gridOf({ region, tiles, samples }, { runs, framesTotal: frames.length, previewFirst });
  const tasksTotal = frames.length * grid.perFrame.length;
  if (tasksTotal > MAX_TASKS) {
    throw new FarmError(
      'TOO_LARGE',
      `${frames.length} frames of ${grid.tilesPerFrame} tiles are more than ${MAX_TASKS} tasks`,
      {
        kept: 'nothing was submitted',
      },
    );
  }
  const quote = gridPrice(grid);
  const budget = request.budget === undefined ? quote : BigInt(request.budget);
  if (budget < quote) {
    throw new FarmError('BUDGET_TOO_LOW', `this job costs ${quote} units, the budget is ${budget}`, {
      kept: 'nothing was submitted, no money moved',
      details: { quote: quote.toString(), budget: budget.toString() },
    });
  }
  return {
    spec: {
      scene: request.scene as JobSpec['scene'],
      name: request.name,
      frames: [...frames],
      tiles,
      samples,
      engine: engine.id,
      ...(isGpuClass(engine.deviceClass) ? { deviceClass: engine.deviceClass } : {}),
      output,
      precision: request.precision ?? 'float',
      region,
      picture: scene.picture,
      fullFrame: scene.resolution,
      exr: request.exr ?? false,
      ...(scene.frameRate === undefined ? {} : { frameRate: exactFrameRate(scene.frameRate) }),
    },
    grid,
    runs,
    tasksTotal,
    quote,
    maxTaskPrice: grid.perFrame.reduce((most, task) => (task.price > most ? task.price : most), 0n),
  };
}

/** The grid that was asked for, or one that suits; a frame that cannot be cut stays whole. */
function chooseGrid(
  asked: JobRequest['tiles'],
  scene: SceneInspection,
  samples: number,
  frameCount: number,
): JobSpec['tiles'] {
  const whole = scene.untileable.length > 0;
  if (asked === undefined || asked === 'auto') {
    return whole ? { columns: 1, rows: 1 } : autoGrid(scene.region, samples, frameCount);
  }
  if (whole && asked.columns * asked.rows > 1) {
    throw new FarmError(
      'TILES_INVALID',
      `the frames cannot be cut into tiles: ${scene.untileable.join(' ')}`,
      {
        kept: 'nothing was submitted',
        details: { finest: { columns: 1, rows: 1 } },
      },
    );
  }
  return asked;
}

function sceneFrames(scene: SceneInspection): number[] {
  const frames: number[] = [];
  for (let frame = scene.frameStart; frame <= scene.frameEnd; frame += Math.max(1, scene.frameStep))
    frames.push(frame);
  return frames;
}

function checkFrames(frames: readonly number[], scene: SceneInspection): void {
  if (frames.length === 0)
    throw new FarmError('FRAMES_INVALID', 'the frame range is empty', { kept: 'nothing was submitted' });
  const outside = frames.find((frame) => frame < scene.frameStart || frame > scene.frameEnd);
  if (outside === undefined) return;
  throw new FarmError(
    'FRAMES_OUTSIDE_SCENE',
    `frame ${outside} lies outside the scene's range ${scene.frameStart}-${scene.frameEnd}`,
    { kept: 'nothing was submitted', details: { frameStart: scene.frameStart, frameEnd: scene.frameEnd } },
  );
}

function checkSamples(samples: number): void {
  if (Number.isInteger(samples) && samples >= 1 && samples <= 65_536) return;
  throw new FarmError('SAMPLES_INVALID', `${samples} samples: it takes at least 1 and at most 65536`, {
    kept: 'nothing was submitted',
  });
}
