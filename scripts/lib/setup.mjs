/**
 * Brings a fresh clone to where the programs run: Debian packages, npm packages, dist/. Plain JavaScript without
 * dependencies, since it runs before anything is installed. Everything that is there already is left alone.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..', '..');

/** What has to be there, and the Debian package that brings it. */
const NEEDED = [
  { debianPackage: 'blender', isThere: () => hasProgram('blender') || process.env.TESSERA_BLENDER },
  { debianPackage: 'bubblewrap', isThere: () => hasProgram('bwrap') },
  { debianPackage: 'nats-server', isThere: () => hasProgram('nats-server') },
  { debianPackage: 'python3-numpy', isThere: () => hasPython('numpy') },
  { debianPackage: 'python3-openimageio', isThere: () => hasPython('OpenImageIO') },
];

/** Where Debian puts it. */
const BLENDER_PYTHON = '/usr/share/blender/scripts';

/** What only the tests need: the demo and the programs do without. */
const NEEDED_FOR_TESTS = [
  { debianPackage: 'docker.io', isThere: () => hasProgram('dockerd') || process.env.DOCKER_HOST },
  { debianPackage: 'debootstrap', isThere: () => hasProgram('debootstrap') },
  { debianPackage: 'ffmpeg', isThere: () => hasProgram('ffmpeg') },
  { debianPackage: 'postgresql', isThere: () => hasProgram('initdb') || hasPostgres() },
];

/** What only `npm run test:faults` needs. */
const NEEDED_FOR_FAULTS = [
  { debianPackage: 'postgresql', isThere: () => hasProgram('initdb') || hasPostgres() },
  { debianPackage: 'iproute2', isThere: () => hasProgram('ip') },
  { debianPackage: 'libfaketime', isThere: () => hasFakeTime() },
];

/** Exit code for "this machine lacks something", as in the error table (protocol/errors.ts). */
const EXIT_MACHINE = 4;

export async function setUp({ forTests = false, forFaults = false } = {}) {
  requireNode();
  await installSystemPackages([
    ...NEEDED,
    ...(forTests ? NEEDED_FOR_TESTS : []),
    ...(forFaults ? NEEDED_FOR_FAULTS : []),
  ]);
  compileBlenderPython();
  await installNpmPackages();
  await step('building', process.execPath, [join(ROOT, 'scripts/build.mjs')]);
}

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 9)) return;
  stop(`Node.js ${process.versions.node} is too old: Tessera needs 20.9 or newer (https://nodejs.org)`);
}

async function installSystemPackages(needed) {
  const missing = needed.filter((one) => !one.isThere()).map((one) => one.debianPackage);
  if (missing.length === 0) return;
  const install = ['install', '-y', '--no-install-recommends', ...missing];
  if (!hasProgram('apt-get')) {
    stop(
      `missing: ${missing.join(', ')} (names of Debian's packages). Install them with your system's package manager and run this again.`,
    );
  }
  if (process.getuid?.() !== 0)
    stop(
      `missing: ${missing.join(', ')}. Run this, then try again:\n\n  sudo apt-get update && sudo apt-get ${install.join(' ')}\n`,
    );
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await step('reading package lists', 'apt-get', ['update'], env);
  await step(`installing ${missing.join(', ')}`, 'apt-get', install, env);
  const still = needed.filter((one) => !one.isThere()).map((one) => one.debianPackage);
  if (still.length > 0) stop(`installed, and still not found: ${still.join(', ')}`);
}

/**
 * Debian's Blender comes with tens of thousands of lines of Python and none of it compiled, which costs every start half a
 * second of a processor. Like what Debian's own Python packages do when they are installed; only root may, and where it does
 * not work everything is as slow as it was.
 */
function compileBlenderPython() {
  const python = '/usr/bin/python3';
  if (process.getuid?.() !== 0 || process.env.TESSERA_BLENDER || !existsSync(python)) return;
  if (
    !existsSync(join(BLENDER_PYTHON, 'modules')) ||
    existsSync(join(BLENDER_PYTHON, 'modules', '__pycache__'))
  )
    return;
  process.stderr.write('compiling the Python of Blender\n');
  spawnSync(python, ['-m', 'compileall', '-q', BLENDER_PYTHON], { stdio: 'ignore' });
}

async function installNpmPackages() {
  const lock = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
  const mark = join(ROOT, 'node_modules', '.tessera-lock');
  if (existsSync(mark) && readFileSync(mark, 'utf8') === lock) return;
  await step('installing npm packages', npmCommand(), ['ci', '--no-audit', '--no-fund', '--ignore-scripts']);
  writeFileSync(mark, lock);
}

/** Runs a command quietly with a line that shows that something happens; its output only when it fails. */
export async function step(title, command, parameters, env = process.env) {
  const startedMs = Date.now();
  const seconds = () => `${((Date.now() - startedMs) / 1000).toFixed(0)} s`;
  const child = spawn(command, parameters, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output = (output + chunk).slice(-20_000);
    });
  }
  const tty = process.stderr.isTTY;
  if (!tty) process.stderr.write(`${title}\n`);
  const timer = setInterval(
    () =>
      process.stderr.write(tty ? `\r\u001b[2K${title} … ${seconds()}` : `  still ${title}, ${seconds()}\n`),
    tty ? 500 : 15_000,
  );
  const code = await new Promise((resolve) => {
    child.once('error', (error) => {
      output += String(error);
      resolve(1);
    });
    child.once('exit', resolve);
  });
  clearInterval(timer);
  if (tty) process.stderr.write('\r\u001b[2K');
  if (code !== 0) stop(`${title} failed (${command} ended with ${code}):\n${output}`);
  process.stderr.write(`${tty ? `${title}: ` : '  done in '}${seconds()}\n`);
}

/** Runs a command with this terminal as its own and ends with its exit code. */
export async function handOver(command, parameters, env = process.env) {
  const child = spawn(command, parameters, { cwd: ROOT, env, stdio: 'inherit' });
  // Ctrl-C reaches the child by itself; this process only waits for it to end in order.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => undefined);
  return await new Promise((resolve) =>
    child.once('exit', (code, signal) => resolve(signal === null ? code : 1)),
  );
}

function npmCommand() {
  return process.platform === 'win32' ? 'npm.cmd' : 'npm';
}

function hasProgram(name) {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/bin', '/usr/sbin', '/usr/local/bin'];
  return folders.some((folder) => {
    try {
      return statSync(join(folder, name)).isFile();
    } catch {
      return false;
    }
  });
}

/** Debian keeps the programs of each version of the server in a folder of its own. */
function hasPostgres() {
  const folder = '/usr/lib/postgresql';
  return (
    existsSync(folder) &&
    readdirSync(folder).some((version) => existsSync(join(folder, version, 'bin', 'initdb')))
  );
}

function hasFakeTime() {
  const folder = '/usr/lib';
  return readdirSync(folder).some((name) => existsSync(join(folder, name, 'faketime', 'libfaketime.so.1')));
}

/** Debian's Blender uses Debian's Python: a module that imports there can be imported in Blender. */
function hasPython(module) {
  if (process.env.TESSERA_BLENDER) return true;
  return spawnSync('/usr/bin/python3', ['-c', `import ${module}`], { stdio: 'ignore' }).status === 0;
}

/** Says why nothing goes on, and ends. */
export function stop(message) {
  process.stderr.write(`${message}\n`);
  process.exit(EXIT_MACHINE);
}
