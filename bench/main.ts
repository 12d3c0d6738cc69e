/** `npm run bench -- NAME [--json] [--runtime process|docker] [--runs N] [--only CASES] [--profile FOLDER]`: one table; with --json its last line is one object. Exit 1 when a goal is missed. */
import { parseArgs } from 'node:util';
import { printError } from '../cli/print-error.ts';
import { processTerminal } from '../cli/terminal.ts';
import { FarmError, toFarmError } from '../protocol/errors.ts';
import { missed, printReport, type Report } from './lib/report.ts';

const BENCHES: Record<
  string,
  () => Promise<{ run(signal: AbortSignal, say: Say, options: Options): Promise<Report> }>
> = {
  render: () => import('./render/bench.ts'),
  proof: () => import('./proof/bench.ts'),
  gpu: () => import('./gpu/bench.ts'),
  dispatch: () => import('./dispatch/bench.ts'),
  gas: () => import('./gas/bench.ts'),
};
type Say = (line: string) => void;
type Options = {
  runtime?: string | undefined;
  runs?: number | undefined;
  profile?: string | undefined;
  only?: string | undefined;
};

const stopping = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.on(name, () => stopping.abort(new FarmError('INTERRUPTED', 'stopped by Ctrl-C')));

const { values, positionals } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    runtime: { type: 'string' },
    runs: { type: 'string' },
    profile: { type: 'string' },
    only: { type: 'string' },
  },
  allowPositionals: true,
});
const say: Say = (line) => process.stderr.write(`${line}\n`);
const load = BENCHES[positionals[0] ?? ''];
if (load === undefined) {
  say(`which benchmark? One of: ${Object.keys(BENCHES).join(', ')}`);
  process.exitCode = 2;
} else {
  try {
    const report = await (await load()).run(stopping.signal, say, {
      runtime: values.runtime,
      runs: values.runs === undefined ? undefined : Number(values.runs),
      profile: values.profile,
      only: values.only,
    });
    printReport(report, values.json, (line) => process.stdout.write(`${line}\n`));
    process.exitCode = missed(report).length > 0 ? 1 : 0;
  } catch (error) {
    const failure = toFarmError(stopping.signal.aborted ? stopping.signal.reason : error);
    process.exitCode = printError(failure, values.json, processTerminal(stopping.signal));
  }
}
