/** `tessera up`: a farm on this machine until Ctrl-C. */

import { portIsFree } from '../platform/process/ports.ts';
import { aborted } from '../platform/wait.ts';
import { accountsKey } from './farm/accounts-key.ts';
import { blobsUrl } from './farm/blobs-url.ts';
import { databaseUrl } from './farm/database-url.ts';
import { natsServers } from './farm/nats-servers.ts';
import { type PublicChainOptions, publicChain } from './farm/public-chain.ts';
import { runtimeChoice } from './farm/runtime-choice.ts';
import { startFarm } from './farm/start-farm.ts';
import { verifierNiceness } from './farm/verifier-niceness.ts';
import { parseAppealBond } from './render/parse-options.ts';
import { nodeNames } from './render/render-command.ts';
import type { Terminal } from './terminal.ts';

export type UpOptions = PublicChainOptions & {
  data: string;
  nodes: string;
  port?: string;
  databaseUrl?: string;
  canaries?: string;
  appealBond?: string;
  natsUrl?: string;
  natsReplicas?: string;
};

/** Where people look for the API; another one where this is taken, unless they chose it themselves. */
const USUAL_PORT = 7733;

export async function upCommand(options: UpOptions, terminal: Terminal): Promise<void> {
  const appealBond = options.appealBond === undefined ? undefined : parseAppealBond(options.appealBond);
  await using farm = await startFarm({
    dataFolder: options.data,
    nodes: nodeNames(options.nodes).map((id) => ({ id })),
    httpPort:
      options.port === undefined ? ((await portIsFree(USUAL_PORT)) ? USUAL_PORT : 0) : Number(options.port),
    blenderPath: terminal.environment['TESSERA_BLENDER'],
    databaseUrl: databaseUrl(options.databaseUrl, terminal.environment),
    blobsUrl: blobsUrl(terminal.environment),
    accountsKey: accountsKey(terminal.environment),
    publicChain: await publicChain(options, terminal.environment),
    ...natsServers(options),
    runtime: runtimeChoice(terminal.environment),
    verifierNiceness: verifierNiceness(terminal.environment),
    ...(options.canaries !== undefined && { canaryShare: Number(options.canaries) }),
    ...(appealBond !== undefined && { appealBond }),
    signal: terminal.signal,
    onNote: (note) => terminal.say(note),
  });
  terminal.say(`the farm works at ${farm.apiUrl}, data in ${farm.folder.root}`);
  terminal.say(`${[...farm.processes.keys()].join(', ')}; logs in ${farm.folder.log}`);
  terminal.say('render with: tessera render SCENE.blend    stop with: Ctrl-C');
  await aborted(terminal.signal);
  terminal.say('stopping');
}
