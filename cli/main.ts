#!/usr/bin/env node
/** The `tessera` command. */
import { resolve } from 'node:path';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { toJson } from '../platform/json.ts';
import { packageVersion } from '../platform/package-root.ts';
import { DEFAULT_MIRROR, DEFAULT_SUITE } from '../platform/render/images/recipe.ts';
import { ERRORS, FarmError, toFarmError } from '../protocol/errors.ts';
import { batchIdSchema, jobIdSchema, nodeIdSchema } from '../protocol/ids.ts';
import { type AccountOptions, accountChange, accountCommand } from './account-command.ts';
import type { AuditOptions } from './audit/audit-command.ts';
import type { EvidenceOptions } from './audit/evidence-command.ts';
import type { CalibrateOptions } from './calibrate/calibrate-command.ts';
import type { ChainOptions } from './farm/chain-command.ts';
import { defaultDataFolder } from './farm/data-folder.ts';
import type { JoinChainOptions } from './farm/join-chain-command.ts';
import type { SetupCommandOptions } from './farm/setup-command.ts';
import { FarmClient } from './farm-client.ts';
import { type BuildImagesOptions, buildImagesCommand, listImagesCommand } from './images/images-command.ts';
import { type BlockOptions, blockOf, jobIdOf, loggedIn, printJob, unblockOf } from './job-command.ts';
import type { LedgerOptions } from './ledger/ledger-command.ts';
import type { MovieCommandOptions, SheetOptions } from './looks/looks-commands.ts';
import { printError } from './print-error.ts';
import { ProgressLine } from './progress-line.ts';
import { followJob } from './render/follow-job.ts';
import { type InspectOptions, inspectCommand } from './render/inspect-command.ts';
import { formatTokens, nameOf } from './render/parse-options.ts';
import { findFarm, type RenderOptions, renderCommand, report } from './render/render-command.ts';
import { processTerminal } from './terminal.ts';
import type { UpOptions } from './up-command.ts';
import { verifiersCommand } from './verifiers-command.ts';
import { whyLines } from './why-lines.ts';

type FarmOptions = { farm?: string; data: string };

/** A second Ctrl-C does not wait for anything. */
const stopping = new AbortController();
const stop = (): void => {
  if (stopping.signal.aborted) process.exit(ERRORS.INTERRUPTED.exitCode);
  stopping.abort(new FarmError('INTERRUPTED', 'stopped by Ctrl-C'));
};
process.on('SIGINT', stop);
process.on('SIGTERM', stop);
process.on('SIGHUP', stop);

const terminal = processTerminal(stopping.signal);
const data = (): Option =>
  new Option('--data <folder>', 'folder of the farm')
    .default(defaultDataFolder(process.env), defaultDataFolder(process.env))
    .argParser((text) => resolve(text));
const farm = (): Option => new Option('--farm <url>', 'another farm; its key in TESSERA_API_KEY');
const contracts = (): Option =>
  new Option(
    '--contracts <file>',
    "the farm's contracts on a chain that is there already, as deploy-contracts wrote them: contracts/deployments/CHAIN.json",
  );
const chainUrl = (): Option =>
  new Option(
    '--chain-url <url>',
    'a node of that chain; with a key in it better in TESSERA_CHAIN_URL, which no process list shows',
  );
const confirmations = (): Option =>
  new Option(
    '--confirmations <count>',
    'blocks of that chain until money counts as moved (default: 12)',
  ).argParser(wholeNumber(0, 10_000));
const device = (): Option =>
  new Option('--device <kind>', 'what may render it: any, cpu or gpu (never a CPU instead)')
    .choices(['any', 'cpu', 'gpu'])
    .default('any');

const program = new Command('tessera')
  .description(
    'A Blender render farm that checks every node by rendering drawn crops again before anybody is paid.',
  )
  .version(packageVersion())
  .exitOverride()
  .configureOutput({ writeErr: () => undefined });

program
  .command('up')
  .description('run a farm on this machine until Ctrl-C')
  .addOption(data())
  .option('--nodes <count>', 'render nodes to start', wholeNumber(1, 64), '2')
  .option(
    '--port <port>',
    'port of the API; 0 takes any free one (default: 7733, or a free one)',
    wholeNumber(0, 65_535),
  )
  .option(
    '--canaries <share>',
    'beside which share of the batches one of known answer is planted, 0 to 1 (default: 0.02)',
    share,
  )
  .option(
    '--database-url <url>',
    'Postgres in place of the database in the folder; with a password better in TESSERA_DATABASE_URL, which no process list shows',
  )
  .option(
    '--nats-url <urls>',
    'message servers of your own, with commas between them; what they have to say of this farm: tessera nats-config',
  )
  .option(
    '--nats-replicas <count>',
    'on how many of them the to-do list is kept (default: 3 of three or more, else 1)',
    wholeNumber(1, 5),
  )
  .option(
    '--appeal-bond <amount>',
    'the most, in TESS, that its nodes put on an appeal against a failed check of work they find right; 0: none appeals (default: 1)',
  )
  .addOption(contracts())
  .addOption(chainUrl())
  .addOption(confirmations())
  .action(async (options: UpOptions) => {
    const { upCommand } = await import('./up-command.ts');
    await upCommand(options, terminal);
  });

program
  .command('addresses')
  .description("print the addresses of a farm's accounts, for a chain that is there already; no key is shown")
  .addOption(data())
  .option('--json', 'print one JSON object on stdout')
  .action(async (options: { data: string; json?: boolean }) => {
    const { addressesCommand } = await import('./farm/addresses-command.ts');
    await addressesCommand(options, terminal);
  });

program
  .command('join-chain')
  .description(
    "stake and join with the farm's own verifiers on a chain that is there already; again until all is done",
  )
  .addOption(data())
  .addOption(contracts())
  .addOption(chainUrl())
  .addOption(confirmations())
  .option('--dry-run', 'only say what is missing; nothing is sent')
  .option('--json', 'print one JSON object on stdout')
  .action(async (options: JoinChainOptions) => {
    const { joinChainCommand } = await import('./farm/join-chain-command.ts');
    await joinChainCommand(options, terminal);
  });

program
  .command('nats-config')
  .description(
    'what message servers of your own have to say alike to work for this farm; nothing of it is secret',
  )
  .addOption(data())
  .action(async (options: { data: string }) => {
    const { natsConfig } = await import('./farm/nats-servers.ts');
    terminal.result(await natsConfig(options.data));
  });

program
  .command('setup')
  .description(
    'make the keys, the contracts and one file for each program of a farm in containers (compose.yaml)',
  )
  .addOption(data())
  .option('--nodes <names>', 'render nodes, with commas between them', 'node-1')
  .option('--verifiers <names>', 'verifiers; they are chosen once and for all', 'verifier-1,verifier-2')
  .option('--api-url <url>', 'what everybody calls the coordinator by', 'http://coordinator:7733')
  .option('--nats-url <urls>', 'message servers', 'nats://nats:4222')
  .option('--chain-url <url>', "the farm's chain", 'http://chain:8545')
  .option('--database-host <name>', 'Postgres, unless TESSERA_DATABASE_URL says more', 'postgres')
  .action(async (options: SetupCommandOptions) => {
    const { setupCommand } = await import('./farm/setup-command.ts');
    await setupCommand(options, terminal);
  });

program
  .command('chain')
  .description("run the farm's own chain alone, for a farm in containers (compose.yaml)")
  .requiredOption('--state <file>', 'its state, which `tessera setup` made')
  .option('--host <address>', 'the address to listen on; who reaches it can make test money', '127.0.0.1')
  .option('--port <port>', 'the port to listen on', wholeNumber(1, 65_535), '8545')
  .action(async (options: ChainOptions) => {
    const { chainCommand } = await import('./farm/chain-command.ts');
    await chainCommand(options, terminal);
  });

program
  .command('render')
  .description('render a scene; on the farm that runs here, or on a temporary one')
  .argument('<scene>', 'a .blend file')
  .option('--frames <list>', 'frames such as 1-24, 1,5,9 or 1-100x10 (default: those of the scene)')
  .option('--tiles <grid>', 'columns x rows such as 4x4, or auto', 'auto')
  .option('--samples <count>', 'samples per pixel (default: those of the scene)')
  .option('--engine <name>', 'engine or Blender version such as 4.3, or auto', 'auto')
  .addOption(device())
  .option(
    '--format <name>',
    'png, png16, jpeg, tiff, exr, exr-multilayer, webp … (default: that of the scene)',
  )
  .option('--quality <percent>', 'of jpeg and webp, 1 to 100 (default: that of the scene)')
  .option('--precision <name>', 'of the raw layers: float, or half for half the bytes (default: float)')
  .option('--priority <share>', 'among jobs of its account: 80 gets four times the nodes of 20 (default: 50)')
  .option('--account <name>', 'whose work it is; accounts share the farm evenly (default: default)')
  .option('--max-nodes <count>', 'nodes that may work on it at once (default: any number)')
  .option('--pool <name>', 'only nodes of this pool')
  .option('--preview-first', 'the first, the last and the middle frame before the others')
  .option('--budget <amount>', 'the most it may cost, in TESS (default: the quote)')
  .option(
    '--wallet <file>',
    'pay from a wallet of your own: its encrypted JSON keystore; the key stays on this machine',
  )
  .option('--out <folder>', 'where the frames go (default: NAME-frames)')
  .option('--root <folder>', "folder whose files may be sent with the scene (default: the scene's own)")
  .option('--exr', 'deliver the float EXR of every frame beside its picture')
  .option('--movie <format>', 'make a movie of the frames: mp4, webm or prores')
  .option('--contact-sheet', 'draw all frames on one picture')
  .option('--wait', 'wait for the frames and download them')
  .option('--json', 'print one JSON object on stdout')
  .option('--nodes <count>', 'nodes of a temporary farm', wholeNumber(1, 64), '1')
  .addOption(farm())
  .addOption(data())
  .action((scene: string, options: RenderOptions) => renderCommand(scene, options, terminal));

program
  .command('inspect')
  .description(
    'what rendering a scene would cost, and whether it renders the same twice; nothing is submitted',
  )
  .argument('<scene>', 'a .blend file')
  .option('--frames <list>', 'frames such as 1-24, 1,5,9 or 1-100x10 (default: those of the scene)')
  .option('--tiles <grid>', 'columns x rows such as 4x4, or auto', 'auto')
  .option('--samples <count>', 'samples per pixel (default: those of the scene)')
  .option('--engine <name>', 'engine or Blender version such as 4.3, or auto', 'auto')
  .addOption(device())
  .option('--root <folder>', "folder whose files may be sent with the scene (default: the scene's own)")
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action((scene: string, options: InspectOptions) => inspectCommand(scene, options, terminal));

program
  .command('wait')
  .description('wait for a job and download its frames')
  .argument('<job>', 'id of the job')
  .option('--out <folder>', 'where the frames go (default: the id of the job)')
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (text: string, options: { out?: string; json?: boolean; farm?: string; data: string }) => {
    const id = jobIdSchema.safeParse(text);
    if (!id.success) throw new FarmError('NOT_FOUND', `${text} is not the id of a job`);
    await using found = await running(options);
    const client = new FarmClient(found);
    const outFolder = resolve(options.out ?? text);
    const progress = new ProgressLine(terminal.err, terminal.now);
    const done = await followJob(id.data, {
      client,
      outFolder,
      progress,
      now: terminal.now,
      signal: terminal.signal,
    });
    report(done.job, done.files, outFolder, options.json === true, terminal);
  });

program
  .command('movie')
  .description('make a movie of frames in a folder, or of a job')
  .argument('<source>', 'a folder with numbered pictures, or the id of a job')
  .option(
    '--format <format>',
    'mp4 (H.264), webm (VP9) or prores (422 HQ; 4444 where frames have alpha)',
    'mp4',
  )
  .option('--fps <rate>', "such as 24, 23.976 or 24000/1001 (default: the scene's; 24 for a folder)")
  .option('--frames <list>', 'frames such as 1-24 or 1-22x3 (default: all, none missing in between)')
  .option('--name <name>', 'which frames, where a folder has several sequences')
  .option('--out <file>', 'where the movie goes (default: beside the frames)')
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (source: string, options: MovieCommandOptions & FarmOptions) => {
    // The libraries for pictures are large; commands without pictures start without them.
    const { movieCommand } = await import('./looks/looks-commands.ts');
    await movieCommand(source, options, () => openFarm(options), terminal);
  });

program
  .command('contact-sheet')
  .description('draw the frames in a folder, or of a job, on one picture')
  .argument('<source>', 'a folder with numbered pictures, or the id of a job')
  .option('--frames <list>', 'frames such as 1-24 or 1-22x3 (default: all there are)')
  .option('--name <name>', 'which frames, where a folder has several sequences')
  .option('--out <file>', 'where the picture goes (default: beside the frames)')
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (source: string, options: SheetOptions & FarmOptions) => {
    const { contactSheetCommand } = await import('./looks/looks-commands.ts');
    await contactSheetCommand(source, options, () => openFarm(options), terminal);
  });

program
  .command('jobs')
  .description('list the jobs of a farm')
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (options: { json?: boolean; farm?: string; data: string }) => {
    await using found = await running(options);
    const jobs = await new FarmClient(found).jobs(terminal.signal);
    if (options.json) return terminal.result(toJson({ jobs }));
    if (jobs.length === 0) terminal.say('no jobs yet');
    for (const job of jobs) {
      const share = `${Math.floor(job.progress * 100)} %`.padStart(5);
      terminal.result(
        `${job.id}  ${job.state.padEnd(9)} ${share}  ${formatTokens(job.spent)} TESS  ${job.name}${job.reason === null ? '' : `  (${job.reason})`}`,
      );
    }
  });

program
  .command('why')
  .description('say why something of a job waits')
  .argument('<job>', 'id of the job')
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (text: string, options: { json?: boolean } & FarmOptions) => {
    const id = jobIdSchema.safeParse(text);
    if (!id.success) throw new FarmError('NOT_FOUND', `${text} is not the id of a job`);
    await using found = await openFarm(options);
    const why = await found.client.why(id.data, terminal.signal);
    if (options.json) return terminal.result(toJson({ why }));
    for (const line of whyLines(why)) terminal.result(line);
  });

const oneJob = program.command('job').description('look at one job, and keep nodes away from it');

oneJob
  .command('show')
  .description('show a job, and who is kept away from it')
  .argument('<job>', 'id of the job')
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (text: string, options: { json?: boolean } & FarmOptions) => {
    const id = jobIdOf(text);
    await using found = await openFarm(options);
    printJob(await found.client.job(id, terminal.signal), options, terminal);
  });

oneJob
  .command('block')
  .description(
    'keep a node away from a job, or from one task of it; what it has of it goes back to the queue',
  )
  .argument('<job>', 'id of the job')
  .argument('[reason]', 'why, for the others who look')
  .requiredOption('--node <name>', 'the node')
  .option('--task <id>', 'only this task, as the events of the job name it')
  .option('--by <name>', 'who says so (default: the name of the user)')
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (text: string, reason: string | undefined, options: BlockOptions & FarmOptions) => {
    const id = jobIdOf(text);
    const asked = blockOf(reason, options, loggedIn());
    await using found = await openFarm(options);
    const view = await found.client.block(id, asked, terminal.signal);
    printJob(view, options, terminal);
  });

oneJob
  .command('unblock')
  .description('let a node back that a person keeps away')
  .argument('<job>', 'id of the job')
  .requiredOption('--node <name>', 'the node')
  .option('--task <id>', 'the task, where it is kept away from only that')
  .option('--by <name>', 'who says so (default: the name of the user)')
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (text: string, options: BlockOptions & FarmOptions) => {
    const id = jobIdOf(text);
    const asked = unblockOf(options, loggedIn());
    await using found = await openFarm(options);
    const view = await found.client.unblock(id, asked, terminal.signal);
    printJob(view, options, terminal);
  });

program
  .command('nodes')
  .description('list the nodes of a farm: state, work, earnings')
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (options: { json?: boolean; farm?: string; data: string }) => {
    await using found = await running(options);
    const nodes = await new FarmClient(found).nodes(terminal.signal);
    if (options.json) return terminal.result(toJson({ nodes }));
    for (const node of nodes) {
      const why = node.state === 'quarantined' ? `  (${node.reason})` : '';
      terminal.result(
        `${node.id.padEnd(12)} ${node.state.padEnd(11)} ${node.engine} ${node.deviceClass}  tasks paid ${node.tasksVerified}, forfeited ${node.tasksForfeited}  earned ${formatTokens(node.earned)} TESS, stake ${formatTokens(node.stake)}, lost ${formatTokens(node.slashed)}${why}`,
      );
    }
  });

program
  .command('verifiers')
  .description('list the verifiers of a farm: stake, verdicts, and who was caught by a canary')
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (options: { json?: boolean } & FarmOptions) => {
    await using found = await openFarm(options);
    await verifiersCommand(options, found.client, terminal);
  });

program
  .command('pools')
  .description('put a node into pools, for jobs with --pool; no pools: into none')
  .argument('<node>', 'name of the node')
  .argument('[pools...]', 'all pools that it is to be in')
  .addOption(farm())
  .addOption(data())
  .action(async (node: string, pools: string[], options: FarmOptions) => {
    const id = nodeIdSchema.safeParse(node);
    if (!id.success) throw new FarmError('NOT_FOUND', `${node} is not the name of a node`);
    const names = pools.map((pool) => nameOf('pool', pool));
    await using found = await openFarm(options);
    await found.client.setPools(id.data, names, terminal.signal);
    terminal.say(names.length === 0 ? `${node} is in no pool` : `${node} is in ${names.join(', ')}`);
  });

program
  .command('account')
  .description('say how many nodes work for an account at once, what it may spend, and whose money that is')
  .argument('<account>', 'name of the account, as in --account')
  .option('--max-nodes <count>', 'nodes at once (default: any number)', wholeNumber(1, 1_000_000))
  .option('--cap-job <amount>', 'the most that one of its jobs may cost, in TESS; none lifts it')
  .option('--cap-total <amount>', 'the most that it may spend in all, in TESS; none lifts it')
  .option('--own-key', 'give it an address of its own on the chain, from which its jobs are paid')
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (account: string, options: AccountOptions & FarmOptions) => {
    const asked = accountChange(account, options);
    await using found = await openFarm(options);
    await accountCommand(asked, options, found.client, terminal);
  });

program
  .command('audit')
  .description('check on this machine that what a job was paid for was rendered: exit 0, or 1')
  .argument('<job>', 'id of the job')
  .option('--tiles <count>', 'how many paid tiles or frames to render again', wholeNumber(0, 100_000), '5')
  .option('--seed <value>', 'draw as an earlier audit did (default: a new one)')
  .option(
    '--chain <url>',
    "a provider of the contracts' chain (default: the farm's own chain, else TESSERA_CHAIN_URL)",
  )
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (text: string, options: AuditOptions & FarmOptions) => {
    const id = jobIdSchema.safeParse(text);
    if (!id.success) throw new FarmError('NOT_FOUND', `${text} is not the id of a job`);
    await using found = await openFarm(options);
    const { auditCommand } = await loadAudit();
    await auditCommand(id.data, options, found.client, terminal);
  });

program
  .command('evidence')
  .description(
    'replay the verdicts on a batch from their evidence, and render their crops again: exit 0, or 1',
  )
  .argument('<batch>', 'id of the batch that the verdicts are on')
  .option('--no-render', 'only take the numbers again from the stored pixels')
  .option(
    '--chain <url>',
    "a provider of the contracts' chain (default: the farm's own chain, else TESSERA_CHAIN_URL)",
  )
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (text: string, options: EvidenceOptions & FarmOptions) => {
    const id = batchIdSchema.safeParse(text);
    if (!id.success) throw new FarmError('NOT_FOUND', `${text} is not the id of a batch`);
    await using found = await openFarm(options);
    const { evidenceCommand } = await loadEvidence();
    await evidenceCommand(id.data, options, found.client, terminal);
  });

program
  .command('ledger')
  .description("the farm's own accounts")
  .command('check')
  .description('hold the ledger of all jobs against the chain, to the smallest unit: exit 0, or 1')
  .option(
    '--chain <url>',
    "a provider of the contracts' chain (default: the farm's own chain, else TESSERA_CHAIN_URL)",
  )
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (options: LedgerOptions & FarmOptions) => {
    await using found = await openFarm(options);
    const { ledgerCommand } = await loadLedger();
    await ledgerCommand(options, found.client, terminal);
  });

program
  .command('dispute')
  .description('put a bond on the judgement of a batch being wrong: a committee of other verifiers decides')
  .argument('<batch>', 'id of the batch')
  .addOption(
    new Option('--if <outcome>', 'only if it is judged so; may be said before it is').choices([
      'pass',
      'fail',
    ]),
  )
  .option('--json', 'print one JSON object on stdout')
  .addOption(farm())
  .addOption(data())
  .action(async (text: string, options: { if?: 'pass' | 'fail'; json?: boolean } & FarmOptions) => {
    const id = batchIdSchema.safeParse(text);
    if (!id.success) throw new FarmError('NOT_FOUND', `${text} is not the id of a batch`);
    await using found = await openFarm(options);
    const request = options.if === undefined ? {} : { outcome: options.if };
    const batch = await found.client.dispute(id.data, request, terminal.signal);
    if (options.json) return terminal.result(toJson({ batch }));
    const doubted = options.if ?? batch.outcome;
    terminal.result(`${batch.id} is ${batch.state}; the verdict ${doubted} is disputed as soon as it stands`);
  });

program
  .command('calibrate')
  .description('measure how far apart honest renders of the device classes here are, and propose limits')
  .argument('[scenes...]', '.blend files (default: the samples)')
  .option('--crops <count>', 'drawn from each scene and compared for each pair', wholeNumber(1, 1_000), '16')
  .option('--samples <count>', 'samples per pixel, an even number (default: those of the scene)')
  .option('--engine <name>', 'only engines of this name or Blender version, such as 4.3 (default: all)')
  .option('--out <folder>', 'where calibration.json and calibration.png go', 'calibration')
  .option('--json', 'print one JSON object on stdout')
  .action(async (scenes: string[], options: CalibrateOptions) => {
    const { calibrateCommand } = await import('./calibrate/calibrate-command.ts');
    await calibrateCommand(scenes, options, terminal);
  });

const images = program.command('images').description('the container images that renderers run in');
images
  .command('build')
  .description('make the CPU image from Debian packages (as root), or from a base image')
  .option('--base <image>', 'a base image that Docker has or can pull, such as debian:trixie-slim')
  .option('--suite <name>', 'Debian release to take Blender from', DEFAULT_SUITE)
  .option('--mirror <url>', 'Debian mirror', DEFAULT_MIRROR)
  .option('--temp <folder>', 'folder with 4 GB of space for some minutes (default: /var/tmp)')
  .option('--again', 'build even when it is there')
  .option('--json', 'print one JSON object on stdout')
  .action((options: BuildImagesOptions) => buildImagesCommand(options, terminal));
images
  .command('list')
  .description('list the engine images of this machine')
  .option('--json', 'print one JSON object on stdout')
  .action((options: { json?: boolean }) => listImagesCommand(options, terminal));

process.exitCode = await run();

async function run(): Promise<number> {
  const json = process.argv.includes('--json');
  try {
    await program.parseAsync();
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      return printError(new FarmError('USAGE', error.message.replace(/^error: /, '')), json, terminal);
    }
    const interrupted = stopping.signal.aborted ? stopping.signal.reason : error;
    return printError(toFarmError(interrupted), json, terminal);
  }
}

/** A farm that already runs: these commands have nothing to say about a new one. */
async function running(options: { farm?: string; data: string }) {
  const { runningFarm, farmFolder } = await import('./farm/data-folder.ts');
  if (options.farm === undefined && (await runningFarm(farmFolder(options.data)))?.apiUrl == null) {
    throw new FarmError('FARM_UNREACHABLE', `no farm runs on ${options.data}`);
  }
  return await findFarm({ ...options, nodes: '1' }, terminal);
}

/** On their own, since tsc rewrites the name of the file only where no `await using` is beside the import. */
async function loadAudit() {
  return await import('./audit/audit-command.ts');
}

async function loadLedger() {
  return await import('./ledger/ledger-command.ts');
}

async function loadEvidence() {
  return await import('./audit/evidence-command.ts');
}

async function openFarm(options: FarmOptions) {
  const found = await running(options);
  return {
    client: new FarmClient(found),
    [Symbol.asyncDispose]: () => found[Symbol.asyncDispose](),
  };
}

function share(text: string): string {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 1) return text;
  throw new InvalidArgumentError('a number from 0 to 1');
}

function wholeNumber(least: number, most: number): (text: string) => string {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return text;
    throw new InvalidArgumentError(`a whole number from ${least} to ${most}`);
  };
}
