/**
 * A Docker engine with the engine image, for the tests: the one that runs, or one that is started here and stopped
 * again. Plain JavaScript without dependencies, like setup.mjs.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT, step, stop } from './setup.mjs';

const SOCKET = '/var/run/docker.sock';
/** The tests' containers have no network, so the engine needs no bridge and may leave the firewall alone. */
const NO_NETWORK = ['--bridge=none', '--iptables=false', '--ip6tables=false'];
/** From the usual to what works in the narrowest sandbox: vfs copies whole images, but needs nothing of the kernel. */
const ATTEMPTS = [
  NO_NETWORK,
  [...NO_NETWORK, '--storage-driver=overlay2'],
  [...NO_NETWORK, '--storage-driver=vfs'],
  [...NO_NETWORK, '--storage-driver=vfs', '--exec-opt=native.cgroupdriver=cgroupfs'],
];
/** A cold disk takes a few seconds; an engine that cannot start ends sooner by itself. */
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const POLL_MS = 200;
/** The reason is in the last lines. */
const REASON_CHARACTERS = 600;

/** Makes sure that an engine answers and has the image. Returns how to end what was started for it. */
export async function setUpDocker() {
  const end = (await answers()) ? async () => undefined : await startEngine();
  await step('making sure of the engine image (some minutes the first time)', process.execPath, [
    join(ROOT, 'dist/cli/main.js'),
    'images',
    'build',
  ]);
  return end;
}

async function startEngine() {
  if (process.env.DOCKER_HOST) stop(`no Docker engine answers at DOCKER_HOST=${process.env.DOCKER_HOST}`);
  if (process.getuid?.() !== 0) {
    stop(
      `no Docker engine answers at ${SOCKET}. Start it (sudo systemctl start docker) and let this user use it.`,
    );
  }
  const reasons = [];
  for (const flags of ATTEMPTS) {
    const started = await tryEngine(flags);
    if (typeof started !== 'string') return started;
    reasons.push(`dockerd ${flags.join(' ')}\n  ${started}`);
  }
  return stop(
    `Docker could not be started here, and the tests of the container runtime need it:\n${reasons.join('\n')}`,
  );
}

/** A function that ends the engine, or the reason why there is none. */
async function tryEngine(flags) {
  const folder = mkdtempSync(join(tmpdir(), 'tessera-dockerd-'));
  const log = join(folder, 'log');
  const file = openSync(log, 'a');
  // An own process group: Ctrl-C ends the tests, which then end the engine.
  const engine = spawn('dockerd', flags, { stdio: ['ignore', file, file], detached: true });
  closeSync(file);
  let ended = null;
  const gone = new Promise((resolve) => {
    engine.once('error', (error) => resolve(String(error)));
    engine.once('exit', (code, signal) => resolve(`ended with ${signal ?? code}`));
  }).then((how) => {
    ended = how;
  });
  const kill = () => {
    engine.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', kill);
  const end = async () => {
    process.off('exit', kill);
    kill();
    const timer = setTimeout(() => engine.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await gone;
    clearTimeout(timer);
  };
  const startedMs = Date.now();
  while (ended === null && Date.now() - startedMs < START_TIMEOUT_MS) {
    if (await answers()) return end;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const how = ended ?? `did not answer in ${START_TIMEOUT_MS / 1_000} s`;
  const words = readFileSync(log, 'utf8').trim().slice(-REASON_CHARACTERS);
  await end();
  return `${how}: ${words}`;
}

function answers() {
  const host = process.env.DOCKER_HOST ?? '';
  const socketPath = host.startsWith('unix://') ? host.slice('unix://'.length) : SOCKET;
  return new Promise((resolve) => {
    const asking = request({ socketPath, path: '/_ping', timeout: 10_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asking.once('timeout', () => asking.destroy());
    asking.once('error', () => resolve(false));
    asking.end();
  });
}
