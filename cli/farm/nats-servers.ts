/** Message servers of somebody's own, in place of the one that a farm starts. */
import { loadAuthority, serverTrust } from '../../platform/nats/authority.ts';
import { trustConfig } from '../../platform/nats/server.ts';
import { FarmError } from '../../protocol/errors.ts';
import { farmFolder, makeFolders, natsKeysFile } from './data-folder.ts';

/** A cluster goes on without one of three; more copies make it slower and not much safer. */
const USUAL_REPLICAS = 3;

/** `--nats-url` and `--nats-replicas`. Throws USAGE for what is no address, or more copies than servers. */
export function natsServers({ natsUrl, natsReplicas }: { natsUrl?: string; natsReplicas?: string }): {
  natsUrl: string | undefined;
  natsReplicas: number | undefined;
} {
  const kept = { kept: 'nothing was started' };
  if (natsUrl === undefined) {
    if (natsReplicas === undefined) return { natsUrl: undefined, natsReplicas: undefined };
    throw new FarmError(
      'USAGE',
      '--nats-replicas is about the servers of --nats-url, and there are none',
      kept,
    );
  }
  const urls = natsUrl.split(',').map((url) => url.trim());
  const wrong = urls.find((url) => !URL.canParse(url) || !/^(nats|tls):$/.test(new URL(url).protocol));
  if (wrong !== undefined)
    throw new FarmError(
      'USAGE',
      '--nats-url takes addresses such as nats://one:4222,nats://two:4222,nats://three:4222',
      kept,
    );
  const replicas =
    natsReplicas === undefined ? (urls.length >= USUAL_REPLICAS ? USUAL_REPLICAS : 1) : Number(natsReplicas);
  if (replicas > urls.length)
    throw new FarmError(
      'USAGE',
      `${replicas} copies of the to-do list need as many servers in --nats-url`,
      kept,
    );
  return { natsUrl: urls.join(','), natsReplicas: replicas };
}

/** The part of their configuration that is this farm's: whom they trust. Its keys are made where there are none yet. */
export async function natsConfig(dataFolder: string): Promise<string> {
  const folder = farmFolder(dataFolder);
  await makeFolders(folder);
  return [
    '# For every message server of this farm, beside its own port, jetstream, cluster and tls.',
    trustConfig(await serverTrust(await loadAuthority(natsKeysFile(folder)))),
  ].join('\n');
}
