/** The programs of this machine that a process session needs, and which Blender it is. */
import { execFile } from 'node:child_process';
import { access, constants, realpath } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { FarmError } from '../../../protocol/errors.ts';

const run = promisify(execFile);

/** Where distributions put programs. The caller's own PATH is not asked: it belongs to the environment. */
const FOLDERS = ['/usr/local/bin', '/usr/bin', '/bin', '/snap/bin'];
/** `--version` takes 0.1 s; a program that needs this long is not Blender. */
const VERSION_TIMEOUT_MS = 30_000;

async function isProgram(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** The absolute path of a program, links resolved, or undefined. */
export async function findProgram(
  name: string,
  folders: readonly string[] = FOLDERS,
): Promise<string | undefined> {
  const candidates = isAbsolute(name) ? [name] : folders.map((folder) => join(folder, name));
  for (const candidate of candidates) {
    if (await isProgram(candidate)) return await realpath(candidate);
  }
  return undefined;
}

export type Blender = { path: string; version: string };

/** Finds Blender (at `path`, else where programs are) and asks for its version, unless `knownVersion` has it. */
export async function findBlender(
  path: string | undefined,
  folders: readonly string[] | undefined,
  signal: AbortSignal,
  knownVersion: (found: string) => Promise<string | undefined> = async () => undefined,
): Promise<Blender> {
  const found = await findProgram(path ?? 'blender', folders);
  if (found === undefined) {
    const where = path === undefined ? 'on this machine' : `at ${path}`;
    throw new FarmError('BLENDER_NOT_FOUND', `there is no Blender ${where}`);
  }
  const known = await knownVersion(found);
  if (known !== undefined) return { path: found, version: known };
  const output = await run(found, ['--version'], {
    timeout: VERSION_TIMEOUT_MS,
    signal,
    env: { HOME: '/tmp' },
  }).then(
    ({ stdout }) => stdout,
    (error: unknown) => {
      if (signal.aborted) throw new FarmError('INTERRUPTED', 'stopped while looking for Blender');
      throw new FarmError('BLENDER_NOT_FOUND', `${found} does not start`, { cause: error });
    },
  );
  const version = /^Blender (\d+\.\d+\.\d+)/m.exec(output)?.[1];
  if (version === undefined) {
    throw new FarmError('BLENDER_NOT_FOUND', `${found} says it is not Blender but ${output.slice(0, 80)}`);
  }
  return { path: found, version };
}

/** bubblewrap, or an error that says how to get it. */
export async function findSandbox(folders: readonly string[] | undefined): Promise<string> {
  const found = await findProgram('bwrap', folders);
  if (found === undefined) throw new FarmError('SANDBOX_NOT_FOUND', 'bubblewrap (bwrap) is not installed');
  return found;
}
