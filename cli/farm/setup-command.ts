/** `tessera setup`: everything that a farm in containers needs, in one folder. */
import { FarmError } from '../../protocol/errors.ts';
import { memberIdSchema } from '../../protocol/sign-in.ts';
import type { Terminal } from '../terminal.ts';
import { blobsUrl } from './blobs-url.ts';
import { databaseUrl } from './database-url.ts';
import { natsServers } from './nats-servers.ts';
import { runtimeChoice } from './runtime-choice.ts';
import { setupFarm } from './setup-farm.ts';

export type SetupCommandOptions = {
  data: string;
  nodes: string;
  verifiers: string;
  apiUrl: string;
  natsUrl: string;
  chainUrl: string;
  databaseHost: string;
};

export async function setupCommand(options: SetupCommandOptions, terminal: Terminal): Promise<void> {
  const { data: dataFolder, apiUrl, chainUrl, databaseHost } = options;
  for (const [option, url] of [
    ['--api-url', apiUrl],
    ['--chain-url', chainUrl],
  ])
    if (url === undefined || !URL.canParse(url))
      throw new FarmError('USAGE', `${option} takes an address such as http://coordinator:7733`, {
        kept: 'nothing was changed',
      });
  const { natsUrl = options.natsUrl } = natsServers({ natsUrl: options.natsUrl });
  const folder = await setupFarm({
    ...{ dataFolder, apiUrl, natsUrl, chainUrl, databaseHost },
    nodes: namesIn('--nodes', options.nodes),
    verifiers: namesIn('--verifiers', options.verifiers),
    databaseUrl: databaseUrl(undefined, terminal.environment),
    blobsUrl: blobsUrl(terminal.environment),
    runtime: runtimeChoice(terminal.environment),
    signal: terminal.signal,
  });
  terminal.say(`${folder.root} has what the programs are started with, and all keys: keep a copy of it`);
}

function namesIn(option: string, text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  const wrong = names.find((name) => !memberIdSchema.safeParse(name).success);
  if (wrong === undefined && new Set(names).size === names.length) return names;
  throw new FarmError('USAGE', `${option} takes names such as node-1,node-2, each once`, {
    kept: 'nothing was changed',
  });
}
