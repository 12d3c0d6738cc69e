/**
 * Which Blender saved a file, from its first bytes. A hint for choosing an engine, never a proof: the file is a
 * stranger's, and the engine that opens it in the sandbox has the last word.
 */
import { open } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';

/** Major and minor, as Blender counts compatibility. */
export type SavedWith = { major: number; minor: number };

/** The longest header there is (Blender 5): `BLENDER17-01v0500`. */
const HEADER_BYTES = 17;
/** The first block of a gzip stream with its tables and the header in it. */
const READ_BYTES = 4_096;

/** Reads `BLENDER-v304` (to Blender 4) and `BLENDER17-01v0500` (since 5); null for anything else. */
export function parseHeader(bytes: Uint8Array): SavedWith | null {
  const text = Buffer.from(bytes.subarray(0, HEADER_BYTES)).toString('latin1');
  const digits = /^BLENDER(?:[-_][vV](\d)(\d\d)|\d\d-\d\dv(\d\d)(\d\d))/.exec(text);
  if (digits === null) return null;
  return { major: Number(digits[1] ?? digits[3]), minor: Number(digits[2] ?? digits[4]) };
}

/**
 * The version in the header of a file, compressed by gzip (before Blender 3) or not. Null where it cannot be told:
 * files compressed by zstd, which Node 20 cannot read, are left to an engine that opens them.
 */
export async function readSavedWith(path: string): Promise<SavedWith | null> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES, 0);
    const head = buffer.subarray(0, bytesRead);
    const isGzip = head[0] === 0x1f && head[1] === 0x8b;
    return parseHeader(isGzip ? await beginningOf(head) : head);
  } finally {
    await file.close();
  }
}

/** The first bytes of a gzip stream; a bomb is not unpacked further than one small piece. */
function beginningOf(head: Buffer): Promise<Buffer> {
  return new Promise((resolve) => {
    const gunzip = createGunzip({ chunkSize: 64 });
    const done = (bytes: Buffer): void => {
      resolve(bytes);
      gunzip.destroy();
    };
    gunzip.once('data', done);
    gunzip.once('error', () => done(Buffer.alloc(0)));
    gunzip.once('end', () => done(Buffer.alloc(0)));
    gunzip.end(head);
  });
}
