/** Bare Blender, as somebody without a farm uses it. Each gives its wall time in seconds. */
import { spawn } from 'node:child_process';
import { FarmError } from '../../protocol/errors.ts';
import type { Rect, Size } from '../../protocol/rect.ts';

export type Engine = {
  /** The command that runs this Blender with these arguments, files seen as on the host. */
  command: (parameters: readonly string[]) => { program: string; parameters: string[] };
};

/** Runs to the end; throws with Blender's last words when it fails. */
export async function runBlender(
  engine: Engine,
  parameters: readonly string[],
  signal: AbortSignal,
): Promise<number> {
  const { program, parameters: all } = engine.command(parameters);
  const startedMs = performance.now();
  const child = spawn(program, all, { stdio: ['ignore', 'pipe', 'pipe'], signal });
  let words = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      words = (words + text).slice(-2_000);
    });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new FarmError('RENDER_FAILED', `${program} ended with ${code}: ${words}`);
  return (performance.now() - startedMs) / 1_000;
}

const QUIET = ['-b', '--factory-startup', '-noaudio'];

/** `blender -b SCENE -a`. */
export function wholeAnimation(engine: Engine, scene: string, out: string, signal: AbortSignal) {
  return runBlender(engine, [...QUIET, scene, '-o', `${out}_####`, '-F', 'PNG', '-a'], signal);
}

/** One Blender for every frame, as most farms do. */
export async function processPerFrame(
  engine: Engine,
  scene: string,
  frames: readonly number[],
  out: string,
  signal: AbortSignal,
): Promise<number> {
  let seconds = 0;
  for (const frame of frames)
    seconds += await runBlender(
      engine,
      [...QUIET, scene, '-o', `${out}_####`, '-F', 'PNG', '-f', String(frame)],
      signal,
    );
  return seconds;
}

/** One Blender for every tile, with the border set: what other farms' tile scripts do (they stitch afterwards). */
export async function processPerTile(
  engine: Engine,
  scene: string,
  full: Size,
  rects: readonly Rect[],
  out: string,
  signal: AbortSignal,
): Promise<number> {
  let seconds = 0;
  for (const [index, rect] of rects.entries()) {
    const border = {
      min_x: rect.x / full.width,
      max_x: (rect.x + rect.width) / full.width,
      min_y: 1 - (rect.y + rect.height) / full.height,
      max_y: 1 - rect.y / full.height,
    };
    const settings = Object.entries(border).map(([name, value]) => `r.border_${name} = ${value}`);
    const expression = [
      'import bpy',
      'r = bpy.context.scene.render',
      'r.use_border = r.use_crop_to_border = True',
      'r.use_compositing = False',
      ...settings,
    ].join('; ');
    const parameters = [...QUIET, scene, '--python-expr', expression];
    seconds += await runBlender(
      engine,
      [...parameters, '-o', `${out}_${index}_####`, '-F', 'PNG', '-f', '1'],
      signal,
    );
  }
  return seconds;
}
