/**
 * The folders through which files reach a sandbox and leave it. What the sandbox wrote is a stranger's: it is moved
 * out of reach first and looked at then, and only plain files are handed on.
 */
import {
  chmod,
  chown,
  copyFile,
  link,
  lstat,
  mkdir,
  mkdtemp,
  realpath,
  rename,
  rm,
  stat,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { FarmError } from '../../../protocol/errors.ts';
import { type Guest, INSIDE, SOCKET_NAME } from './launcher.ts';
import { sizeText } from './limits.ts';

/** sun_path of a unix socket has 108 bytes with its closing zero. */
const MAX_SOCKET_PATH_BYTES = 107;
const PREFIX = 'tessera-';

export type Exchange = {
  /** Empty, for a scene that comes when the sandbox runs already. */
  readonly scene: string;
  readonly input: string;
  readonly output: string;
  readonly socketPath: string;
  /** Lets the sandbox's user connect to the socket, which has to be there. */
  openSocket(): Promise<void>;
  /** Makes a file of the host readable inside; gives its path there. */
  handIn(path: string): Promise<string>;
  /** A fresh path inside that the renderer may write to. */
  outputPath(extension: string): string;
  /** Moves what was written at an {@link outputPath} to its place on the host. */
  takeOut(inside: string, destination: string): Promise<void>;
  /** Removes what one command brought in or left behind. */
  discard(inside: readonly string[]): Promise<void>;
  remove(): Promise<void>;
};

function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

/** Renames, or copies where the two paths are on different disks. The destination appears at once or not at all. */
async function move(source: string, destination: string): Promise<void> {
  try {
    await rename(source, destination);
  } catch (error) {
    if (!hasCode(error, 'EXDEV')) throw error;
    const beside = join(dirname(destination), `.${basename(destination)}.part`);
    await copyFile(source, beside);
    await rename(beside, destination);
    await rm(source, { force: true });
  }
}

/** Everybody may read; nothing that a sandbox wrote may run, or run as its owner. */
const PLAIN_FILE = 0o644;

export type ExchangeOptions = {
  /** No larger file is taken out. */
  maxBytes?: number;
  guest?: Guest | undefined;
};

/**
 * Creates the folders of one session below `parent` (default: the system's folder for temporary files). They lie in
 * a folder that only this program's user can enter; a sandbox has them mounted one by one.
 */
export async function createExchange(
  parent: string = tmpdir(),
  { maxBytes = Number.POSITIVE_INFINITY, guest }: ExchangeOptions = {},
): Promise<Exchange> {
  let root = await mkdtemp(join(parent, PREFIX));
  if (Buffer.byteLength(join(root, 'in', SOCKET_NAME)) > MAX_SOCKET_PATH_BYTES) {
    await rm(root, { recursive: true });
    root = await mkdtemp(join('/tmp', PREFIX));
  }
  const scene = join(root, 'scene');
  const input = join(root, 'in');
  const output = join(root, 'out');
  const taken = join(root, 'taken');
  await Promise.all([scene, input, output, taken].map((folder) => mkdir(folder)));
  if (guest !== undefined) {
    await chmod(scene, 0o755);
    await chmod(input, 0o755);
    await chown(output, guest.uid, guest.gid);
  }
  /** Whether the sandbox's user can read this file of ours. */
  const isReadable = async (path: string): Promise<boolean> =>
    guest === undefined || ((await stat(path)).mode & 0o004) !== 0;
  let counter = 0;
  const host = (inside: string) =>
    join(inside.startsWith(`${INSIDE.input}/`) ? input : output, basename(inside));

  return {
    scene,
    input,
    output,
    socketPath: join(input, SOCKET_NAME),
    async openSocket() {
      if (guest !== undefined) await chown(join(input, SOCKET_NAME), guest.uid, guest.gid);
    },
    async handIn(path) {
      counter += 1;
      const name = `${counter}.exr`;
      const source = await realpath(path);
      if (!(await isReadable(source))) {
        await copyFile(source, join(input, name));
        await chmod(join(input, name), PLAIN_FILE);
        return `${INSIDE.input}/${name}`;
      }
      // A hard link costs nothing. It cannot be made across disks, nor of files that belong to somebody else.
      await link(source, join(input, name)).catch(async (error: unknown) => {
        if (!hasCode(error, 'EXDEV', 'EPERM', 'EMLINK', 'EACCES', 'ENOTSUP')) throw error;
        await copyFile(source, join(input, name));
      });
      return `${INSIDE.input}/${name}`;
    },
    outputPath(extension) {
      counter += 1;
      return `${INSIDE.output}/${counter}${extension}`;
    },
    async takeOut(inside, destination) {
      const mine = join(taken, basename(inside));
      await rename(host(inside), mine).catch((error: unknown) => {
        throw new FarmError('RENDER_FAILED', 'Blender reported success but wrote no file', { cause: error });
      });
      const status = await lstat(mine);
      if (!status.isFile() || status.nlink !== 1) {
        await rm(mine, { recursive: true, force: true });
        throw new FarmError('RENDER_FAILED', 'what the sandbox wrote is not a plain file');
      }
      // Written too fast for anybody to have watched it grow.
      if (status.size > maxBytes) {
        await rm(mine, { force: true });
        const sizes = `${sizeText(status.size)}; one command may write ${sizeText(maxBytes)}`;
        throw new FarmError('OUTPUT_LIMIT', `the scene wrote a file of ${sizes}; it was removed`);
      }
      if (guest !== undefined) await chown(mine, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
      await chmod(mine, PLAIN_FILE);
      await move(mine, destination);
    },
    async discard(inside) {
      await Promise.all(inside.map((path) => rm(host(path), { recursive: true, force: true })));
    },
    async remove() {
      // A folder that cannot be removed is litter, not a reason to fail whatever was done in it.
      await rm(root, { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
    },
  };
}
