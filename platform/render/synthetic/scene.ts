/**
 * What a synthetic session loads in place of a .blend: a few numbers as JSON. Anything else is refused, so that an
 * artist's scene can never come back as noise.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { FarmError } from '../../../protocol/errors.ts';
import { rectSchema, sizeSchema } from '../../../protocol/rect.ts';
import { errorCode } from '../../files.ts';
import type { SceneFolder } from '../runtime.ts';

/** Pixels are made in this process: a 4K frame fits, a number that somebody made up must not take all the memory. */
const MAX_PIXELS = 2 ** 24;
/** As long as a task may take at all. */
const MAX_DURATION_MS = 3_600_000;
/** Some hundred bytes are usual. */
const MAX_FILE_BYTES = 4_096;

const frameSchema = z.number().int().min(-1_048_574).max(1_048_574);

const syntheticSceneSchema = z
  .strictObject({
    resolution: sizeSchema,
    /** What is rendered; the full frame when left out. */
    region: rectSchema.optional(),
    frameStart: frameSchema.default(1),
    frameEnd: frameSchema,
    samples: z.number().int().min(1).max(65_536).default(16),
    /** Another one gives other pixels. */
    seed: z.number().int().min(0).default(0),
    /** How long each command that renders takes besides its arithmetic, however small its rectangle. */
    durationMs: z.number().int().min(0).max(MAX_DURATION_MS).default(0),
  })
  .refine(({ resolution: { width, height } }) => width * height <= MAX_PIXELS, `over ${MAX_PIXELS} pixels`)
  .refine(({ frameStart, frameEnd }) => frameStart <= frameEnd, 'no frame between frameStart and frameEnd')
  .refine(
    ({ resolution, region }) =>
      region === undefined ||
      (region.x + region.width <= resolution.width && region.y + region.height <= resolution.height),
    'the region is not inside the resolution',
  );

/** A description of a scene, as a test writes it into a file. */
export type SyntheticScene = z.input<typeof syntheticSceneSchema>;

export type LoadedScene = z.output<typeof syntheticSceneSchema> & {
  /** From the file's bytes: what two scenes with the same numbers share, and no others. */
  key: number;
};

/** Throws SCENE_NOT_FOUND, or SCENE_UNREADABLE with what is wrong. */
export async function loadScene({ root, main }: SceneFolder): Promise<LoadedScene> {
  const path = join(root, main);
  const bytes = await read(path);
  const digest = createHash('sha256').update(bytes).digest();
  return { ...parse(bytes.toString('utf8'), main), key: digest.readUInt32LE(0) };
}

async function read(path: string): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) throw unreadable(path, `it has ${size} bytes`);
    return await readFile(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' && errorCode(error) !== 'ENOTDIR') throw error;
    throw new FarmError('SCENE_NOT_FOUND', `there is no file ${path}`, { cause: error });
  }
}

function parse(text: string, name: string): z.output<typeof syntheticSceneSchema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw unreadable(name, 'it is no JSON', error);
  }
  const scene = syntheticSceneSchema.safeParse(value);
  if (scene.success) return scene.data;
  throw unreadable(name, z.prettifyError(scene.error), scene.error);
}

function unreadable(name: string, why: string, cause?: unknown): FarmError {
  return new FarmError('SCENE_UNREADABLE', `${name} does not describe a synthetic scene: ${why}`, { cause });
}
