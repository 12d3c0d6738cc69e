/** How each process of an embedded farm is started. */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { CoordinatorConfig, CoordinatorSecrets } from '../../coordinator/config.ts';
import { writeFileAtomic } from '../../platform/files.ts';
import { packageRoot } from '../../platform/package-root.ts';
import { type Child, startOwnProgram, startProgram } from '../../platform/process/child.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { VerifierConfig, VerifierSecrets } from '../../verifier/config.ts';
import type { WorkerConfig, WorkerSecrets } from '../../worker/config.ts';
import type { FarmFolder } from './data-folder.ts';

type ProgramFile =
  | { config: CoordinatorConfig; secrets: CoordinatorSecrets }
  | { config: VerifierConfig; secrets: VerifierSecrets }
  | { config: WorkerConfig; secrets: WorkerSecrets };

/** From source (tsx compiles at every start) or from dist/. */
export type ProgramOrigin = 'source' | 'dist';

/** Programs come from where this file comes from, unless somebody says otherwise. */
export const OWN_ORIGIN: ProgramOrigin = import.meta.url.endsWith('.ts') ? 'source' : 'dist';

/** The main file of one of our programs. */
export function ownEntry(program: 'coordinator' | 'verifier' | 'worker', origin: ProgramOrigin): string {
  return origin === 'source'
    ? join(packageRoot(), program, 'main.ts')
    : join(packageRoot(), 'dist', program, 'main.js');
}

/** The command that starts a program of this name in its turn; none in most cases. */
export type Through = (name: string) => readonly string[];

/** Starts one of our programs with its configuration in a file that only its owner can read, and its own arguments. */
export async function startOwn(
  folder: FarmFolder,
  program: { name: string; entry: string; arguments?: readonly string[] | undefined },
  through: Through,
  file: ProgramFile,
): Promise<Child & { info: Record<string, string> }> {
  const { name, entry, arguments: more = [] } = program;
  const path = join(folder.run, `${name}.json`);
  await writeFileAtomic(path, JSON.stringify(file));
  const loader = entry.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : [];
  const line = [...loader, '--enable-source-maps', entry, path, ...more];
  const [command = process.execPath, ...args] = [...through(name), process.execPath, ...line];
  return await startOwnProgram({
    name,
    command,
    args,
    logFile: join(folder.log, `${name}.log`),
    cwd: packageRoot(),
  });
}

/** Starts the message server. */
export async function startNatsServer(folder: FarmFolder, config: string): Promise<Child> {
  const path = join(folder.run, 'nats.conf');
  await writeFileAtomic(path, config);
  return await startProgram({
    name: 'nats-server',
    command: requireProgram('nats-server', 'nats-server'),
    args: ['-c', path],
    logFile: join(folder.log, 'nats-server.log'),
  });
}

/** Folders that Debian's packages install into and that a user's PATH may lack. */
const USUAL_FOLDERS = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/usr/local/sbin'];

function requireProgram(program: string, debianPackage: string): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...USUAL_FOLDERS];
  const found = folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new FarmError(
    'PROGRAM_NOT_FOUND',
    `${program} is not installed (Debian and Ubuntu: apt-get install ${debianPackage})`,
    {
      kept: 'nothing was started',
    },
  );
}
