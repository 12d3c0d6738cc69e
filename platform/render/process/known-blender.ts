/**
 * Which Blender it is, from somebody who has just asked it. `blender --version` loads the whole program, which takes half a
 * second of a processor: a farm asks once and tells all of its programs.
 */
import { stat } from 'node:fs/promises';
import { z } from 'zod';
import { type Blender, findBlender } from './programs.ts';

export const knownBlenderSchema = z.strictObject({
  path: z.string(),
  version: z.string(),
  /** Of the file that was asked: another one at this path is asked itself. */
  fileStamp: z.string(),
});
export type KnownBlender = z.infer<typeof knownBlenderSchema>;

/** Finds Blender and asks it; undefined where there is none, which is the business of whoever needs one. */
export async function knowBlender(
  path: string | undefined,
  signal: AbortSignal,
): Promise<KnownBlender | undefined> {
  try {
    const blender = await findBlender(path, undefined, signal);
    return { ...blender, fileStamp: await stampOf(blender.path) };
  } catch {
    return undefined;
  }
}

/** Like {@link findBlender}, without asking the one that is known already. */
export async function findKnownBlender(
  path: string | undefined,
  folders: readonly string[] | undefined,
  signal: AbortSignal,
  known: KnownBlender | undefined,
): Promise<Blender> {
  return await findBlender(path, folders, signal, async (found) =>
    known?.path === found && known.fileStamp === (await stampOf(found)) ? known.version : undefined,
  );
}

async function stampOf(path: string): Promise<string> {
  const { ino, size, mtimeMs, ctimeMs } = await stat(path);
  return [ino, size, mtimeMs, ctimeMs].join(' ');
}
