/** `tessera render`: from a .blend to finished frames. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, extname, join, relative, resolve, sep } from 'node:path';
import { toJson } from '../../platform/json.ts';
import type { JobRequest, JobView } from '../../protocol/job.ts';
import { farmFolder, readApiKey, runningFarm } from '../farm/data-folder.ts';
import { runtimeChoice } from '../farm/runtime-choice.ts';
import { verifierNiceness } from '../farm/verifier-niceness.ts';
import { FarmClient } from '../farm-client.ts';
import { ProgressLine } from '../progress-line.ts';
import type { Terminal } from '../terminal.ts';
import { requireBlendFile } from './check-blend.ts';
import { type FrameFiles, followJob } from './follow-job.ts';
import { openWallet } from './open-wallet.ts';
import { parseFrames } from './parse-frames.ts';
import { formatTokens, parseBudget, parseSamples, parseSharing, parseTiles } from './parse-options.ts';
import { parseOutput } from './parse-output.ts';
import { submitFromWallet } from './submit-from-wallet.ts';
import { submitScene } from './submit-scene.ts';

export type RenderOptions = {
  frames?: string;
  tiles: string;
  samples?: string;
  format?: string;
  quality?: string;
  precision?: string;
  budget?: string;
  priority?: string;
  account?: string;
  maxNodes?: string;
  pool?: string;
  previewFirst?: boolean;
  wallet?: string;
  engine: string;
  device: 'any' | 'cpu' | 'gpu';
  out?: string;
  root?: string;
  farm?: string;
  data: string;
  nodes: string;
  exr?: boolean;
  movie?: string;
  contactSheet?: boolean;
  wait?: boolean;
  json?: boolean;
};

export async function renderCommand(
  scene: string,
  options: RenderOptions,
  terminal: Terminal,
): Promise<void> {
  // Everything that can be refused without a farm is refused before one is started.
  const choices = {
    ...(options.frames === undefined ? {} : { frames: parseFrames(options.frames) }),
    ...(options.samples === undefined ? {} : { samples: parseSamples(options.samples) }),
    ...(options.budget === undefined ? {} : { budget: parseBudget(options.budget).toString() }),
    ...parseOutput(options),
    ...parseSharing(options),
    tiles: parseTiles(options.tiles),
    exr: options.exr === true,
    engine: options.engine,
    device: options.device,
  };
  await requireBlendFile(scene);
  const key = options.wallet === undefined ? null : await openWallet(options.wallet, terminal);
  const wanted = options.movie !== undefined || options.contactSheet === true;
  // The libraries for pictures are large; who wants frames only starts without them.
  const looks = wanted ? await loadLooks() : undefined;
  await looks?.requireLooks(options);
  await using farm = await findFarm(options, terminal);
  const client = new FarmClient(farm);
  const { signal } = terminal;

  terminal.say(`inspecting ${basename(scene)}`);
  const submitted = await submitScene(client, scene, options.root, signal);
  for (const warning of submitted.summary?.warnings ?? []) terminal.say(`warning: ${warning}`);
  const request: JobRequest = { scene: submitted.scene, name: basename(scene), ...choices };
  const job =
    key === null
      ? await client.submitJob(request, signal)
      : await submitFromWallet(client, request, key, terminal);
  terminal.say(describe(job));

  if (options.wait !== true && !wanted && !farm.temporary) {
    if (options.json) terminal.result(toJson({ job }));
    else terminal.say(`submitted as ${job.id}; fetch the frames with: tessera wait ${job.id}`);
    return;
  }
  const outFolder = resolve(options.out ?? `${basename(scene, extname(scene))}-frames`);
  const progress = new ProgressLine(terminal.err, terminal.now);
  const done = await followJob(job.id, { client, outFolder, progress, now: terminal.now, signal });
  // The frames are told first: they are there whatever becomes of the movie.
  if (!options.json) report(done.job, done.files, outFolder, false, terminal);
  const made = await looks?.looksOfJob(done, options, terminal);
  if (options.json) terminal.result(toJson({ ...done, ...made }));
}

/** On its own, since tsc rewrites the name of the file only where the import stands alone. */
async function loadLooks() {
  return await import('../looks/looks-commands.ts');
}

/** Says what a finished job gave and cost. */
export function report(
  job: JobView,
  files: FrameFiles[],
  outFolder: string,
  json: boolean,
  terminal: Terminal,
): void {
  if (json) {
    terminal.result(toJson({ job, files }));
    return;
  }
  const seconds = ((job.finishedAtMs ?? terminal.now()) - job.createdAtMs) / 1_000;
  const extra = files.reduce((count, file) => count + file.extraFiles.length, 0);
  const beside = extra === 0 ? '' : `, with ${extra} file(s) of File Output nodes`;
  terminal.say(`${files.length} frame(s)${beside} in ${outFolder} after ${seconds.toFixed(1)} s`);
  for (const line of movedFiles(files, outFolder)) terminal.say(line);
  terminal.say(`paid ${formatTokens(job.spent)} TESS, refunded ${formatTokens(job.refunded)} TESS`);
}

/** Files that are not where the scene writes them, since another one of the job is there. */
function movedFiles(files: readonly FrameFiles[], outFolder: string): string[] {
  return files.flatMap(({ frame, extraFiles }) =>
    extraFiles
      .map(({ name, path }) => ({ name, path: relative(outFolder, path).replaceAll(sep, '/') }))
      .filter(({ name, path }) => name !== path)
      .map(({ name, path }) => `note: ${name} of frame ${frame} is ${path}: another file has its place`),
  );
}

function describe(job: JobView): string {
  const { frames, tiles, samples, fullFrame, engine } = job.spec;
  const grid = `${tiles.columns}x${tiles.rows} tile${tiles.columns * tiles.rows === 1 ? '' : 's'}`;
  const count = `${frames.length} frame${frames.length === 1 ? '' : 's'}`;
  return `${count} of ${fullFrame.width}x${fullFrame.height}, ${samples} samples, ${grid} each, ${engine}: ${formatTokens(job.quote)} TESS`;
}

type FoundFarm = { apiUrl: string; credential: string; temporary: boolean } & AsyncDisposable;

const nothingToClose = async (): Promise<void> => undefined;

/** The farm that was named, the one that runs on the data folder, or a temporary one for this job. */
export async function findFarm(
  options: Pick<RenderOptions, 'farm' | 'data' | 'nodes'>,
  terminal: Terminal,
): Promise<FoundFarm> {
  const folder = farmFolder(options.data);
  const running = await runningFarm(folder);
  const given = terminal.environment['TESSERA_API_KEY'];
  if (options.farm !== undefined && options.farm !== running?.apiUrl) {
    // The key of this machine's farm is nothing to another one.
    return {
      apiUrl: options.farm,
      credential: given ?? '',
      temporary: false,
      [Symbol.asyncDispose]: nothingToClose,
    };
  }
  const credential = given ?? (await readApiKey(folder)) ?? '';
  if (running?.apiUrl) {
    return { apiUrl: running.apiUrl, credential, temporary: false, [Symbol.asyncDispose]: nothingToClose };
  }
  terminal.say('no farm runs here: starting a temporary one (tessera up keeps one running)');
  const dataFolder = await mkdtemp(join(tmpdir(), 'tessera-'));
  const remove = (): Promise<void> => rm(dataFolder, { recursive: true, force: true });
  try {
    // Everything that a farm is made of, which a command to one that runs does not need.
    const { startFarm } = await import('../farm/start-farm.ts');
    const farm = await startFarm({
      dataFolder,
      nodes: nodeNames(options.nodes).map((id) => ({ id })),
      httpPort: 0,
      blenderPath: terminal.environment['TESSERA_BLENDER'],
      verifierNiceness: verifierNiceness(terminal.environment),
      runtime: runtimeChoice(terminal.environment),
      // For one job of one's own there is nobody to be tried.
      canaryShare: 0,
      signal: terminal.signal,
      onNote: (note) => terminal.say(note),
    });
    return {
      apiUrl: farm.apiUrl,
      credential: farm.apiKey,
      temporary: true,
      async [Symbol.asyncDispose]() {
        await farm[Symbol.asyncDispose]();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** `3` nodes are node-1, node-2, node-3. */
export function nodeNames(count: string): string[] {
  return Array.from({ length: Number(count) }, (_, index) => `node-${index + 1}`);
}
