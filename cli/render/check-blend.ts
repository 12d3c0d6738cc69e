/** A first look at the file, before a farm is bothered with it. */
import { open, stat } from 'node:fs/promises';
import { errorCode } from '../../platform/files.ts';
import { FarmError } from '../../protocol/errors.ts';

/** Uncompressed, gzip (Blender before 3.0) and zstd (since): how a .blend file can begin. */
const BEGINNINGS = [Buffer.from('BLENDER'), Buffer.from([0x1f, 0x8b]), Buffer.from([0x28, 0xb5, 0x2f, 0xfd])];

/** Throws SCENE_NOT_FOUND or SCENE_NOT_BLEND. */
export async function requireBlendFile(path: string): Promise<void> {
  const kept = 'nothing was submitted';
  let head: Buffer;
  try {
    if (!(await stat(path)).isFile())
      throw new FarmError('SCENE_NOT_BLEND', `${path} is not a file`, { kept });
    const file = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(16), 0, 16, 0);
      head = buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' && errorCode(error) !== 'ENOTDIR') throw error;
    throw new FarmError('SCENE_NOT_FOUND', `there is no file ${path}`, { kept });
  }
  if (BEGINNINGS.some((beginning) => head.subarray(0, beginning.length).equals(beginning))) return;
  throw new FarmError('SCENE_NOT_BLEND', `${path} is not a .blend file`, { kept });
}
