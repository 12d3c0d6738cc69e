/**
 * `npm run demo [-- --cheat NAME]`: a whole farm with a cheat in it renders the samples; who was paid, who was caught,
 * and why.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { startFarm } from '../cli/farm/start-farm.ts';
import { FarmClient } from '../cli/farm-client.ts';
import { type Found, ofJob } from '../cli/looks/find-footage.ts';
import { makeMovie, makeSheet, movieFile, sheetFile } from '../cli/looks/make-looks.ts';
import { printError } from '../cli/print-error.ts';
import { ProgressLine } from '../cli/progress-line.ts';
import { followJob } from '../cli/render/follow-job.ts';
import { submitScene } from '../cli/render/submit-scene.ts';
import { processTerminal, type Terminal } from '../cli/terminal.ts';
import { packageRoot } from '../platform/package-root.ts';
import { FarmError, isFarmError, toFarmError } from '../protocol/errors.ts';
import type { JobRequest } from '../protocol/job.ts';
import { type Adversary, adversaries, CHEAT } from './adversaries.ts';
import { catches, type DemoResult, summary } from './summary.ts';

/** Pays best for its effort, and a perceptual hash does not see it. */
const USUAL_CHEAT = 'samples-25';

/** Two jobs that show both kinds of splitting: a still in tiles, an animation in frames. */
const JOBS: { file: string; what: string; choices: Pick<JobRequest, 'frames' | 'tiles'> }[] = [
  {
    file: 'samples/still/still.blend',
    what: 'a still in 4x3 tiles',
    choices: { frames: [1], tiles: { columns: 4, rows: 3 } },
  },
  {
    file: 'samples/turntable/turntable.blend',
    what: '8 frames of a turntable',
    choices: { frames: [1, 4, 7, 10, 13, 16, 19, 22], tiles: { columns: 1, rows: 1 } },
  },
];

/** Every third frame of a scene at 24 frames a second: so the turntable turns as fast as in the scene. */
const DEMO_RATE = { numerator: 8, denominator: 1 };

const stopping = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => stopping.abort(new FarmError('INTERRUPTED', 'stopped by Ctrl-C')));
}
const terminal = processTerminal(stopping.signal);
try {
  const cheat = cheatAsked();
  const result = await demo(cheat, terminal);
  terminal.result(summary(result));
  // Some of the others leave these scenes as they are; this one never does.
  if (cheat.name === USUAL_CHEAT && !catches(result).some((one) => one.nodeId === CHEAT))
    throw new FarmError('INTERNAL', `${CHEAT} cheated and was not caught`);
} catch (error) {
  process.exitCode = printError(
    toFarmError(stopping.signal.aborted ? stopping.signal.reason : error),
    false,
    terminal,
  );
}

function cheatAsked(): Adversary {
  const { values } = parseArgs({ options: { cheat: { type: 'string', default: USUAL_CHEAT } } });
  const all = adversaries(join(packageRoot(), 'dist/test/adversaries'));
  const cheat = all.find(({ name }) => name === values.cheat);
  if (cheat !== undefined) return cheat;
  const lines = all.map(({ name, says }) => `  ${name.padEnd(14)} ${says}`);
  throw new FarmError('USAGE', `--cheat ${values.cheat} is none of these:\n${lines.join('\n')}`);
}

/** A contact sheet of an animation, and a movie where this machine has ffmpeg, which the demo does not need. */
async function looks({ name, folder, frames, rate }: Found, terminal: Terminal): Promise<string[]> {
  const sheet = join(folder, sheetFile(name));
  await makeSheet({ frames, output: sheet, rate }, terminal);
  const made = [relative(process.cwd(), sheet)];
  const movie = join(folder, movieFile(name, 'mp4'));
  const options = { frames, output: movie, format: 'mp4' as const, rate: DEMO_RATE };
  try {
    await makeMovie(options, terminal);
    made.push(relative(process.cwd(), movie));
  } catch (error) {
    if (!isFarmError(error, 'FFMPEG_NOT_FOUND')) throw error;
    terminal.say(`no movie: ${error.message}`);
  }
  return made;
}

async function demo(cheat: Adversary, terminal: Terminal): Promise<DemoResult> {
  const root = packageRoot();
  const outFolder = join(root, 'demo-out');
  const dataFolder = join(root, '.tessera', 'demo');
  // Every run shows the whole story, so it starts with an empty farm; pictures of an earlier run are replaced.
  await rm(dataFolder, { recursive: true, force: true });
  await mkdir(dataFolder, { recursive: true });
  const { nodes, verifiers } = cheat.farm;
  const parts = `nats-server, chain with escrow, coordinator, ${verifiers?.length ?? 'two'} verifiers, three nodes`;
  terminal.say(`starting a farm: ${parts}`);
  terminal.say(`  all are honest but one: ${cheat.says}`);
  await using farm = await startFarm({
    dataFolder,
    ...cheat.farm,
    httpPort: 0,
    blenderPath: terminal.environment['TESSERA_BLENDER'],
    // Its pictures are compared with the local Blender's, and it needs no Docker.
    runtime: 'process',
    signal: terminal.signal,
    onNote: (note) => terminal.say(note),
  });
  terminal.say(`  running at ${farm.apiUrl}; logs in ${relative(process.cwd(), farm.folder.log) || '.'}`);
  const client = new FarmClient({ apiUrl: farm.apiUrl, credential: farm.apiKey });
  const startedMs = terminal.now();
  const jobs: DemoResult['jobs'] = [];
  for (const [index, { file, what, choices }] of JOBS.entries()) {
    terminal.say(`${index + 1}/${JOBS.length} ${file}: ${what}`);
    const { scene } = await submitScene(client, join(root, file), undefined, terminal.signal);
    const name = file.slice(file.lastIndexOf('/') + 1);
    const submitted = await client.submitJob({ scene, name, ...choices }, terminal.signal);
    const progress = new ProgressLine(terminal.err, terminal.now);
    const { job, files } = await followJob(submitted.id, {
      client,
      outFolder,
      progress,
      now: terminal.now,
      signal: terminal.signal,
    });
    const pictures = files.map((one) => relative(process.cwd(), one.picture));
    if (files.length > 1) pictures.push(...(await looks(ofJob(job, files), terminal)));
    jobs.push({ job, pictures, batches: await client.batches(job.id, terminal.signal) });
  }
  const seconds = (terminal.now() - startedMs) / 1_000;
  const cheatId = nodes.some(({ id, entry }) => id === CHEAT && entry !== undefined) ? CHEAT : '';
  return {
    ...{ jobs, nodes: await client.nodes(terminal.signal), cheat: cheatId, seconds },
    verifiers: await client.verifiers(terminal.signal),
  };
}
