/** Everything an audit looks at, fetched: from the farm what it says, from the chain what is so. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import type { FarmChain } from '../../platform/chain/chain.ts';
import { ethersChain } from '../../platform/chain/ethers-chain.ts';
import { jobKey } from '../../platform/chain/keys.ts';
import { newPrivateKey } from '../../platform/chain/signing.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { FarmInfo } from '../../protocol/http.ts';
import type { Bytes32, Digest, JobId } from '../../protocol/ids.ts';
import { type Evidence, evidenceSchema } from '../../protocol/verdict.ts';
import type { FarmClient } from '../farm-client.ts';
import type { AuditedBatch, Books } from './books.ts';

/** Evidence is numbers and digests; this is hundreds of times what 64 comparisons need. */
const MAX_EVIDENCE_BYTES = 4 * 1024 * 1024;

/** A provider of the chain that the farm's contracts are on: `--chain`, else the farm's own chain, else TESSERA_CHAIN_URL. */
export function chainUrlOf(
  info: Pick<FarmInfo, 'chainId' | 'chainUrl'>,
  option: string | undefined,
  environment: NodeJS.ProcessEnv,
): string {
  const found = option ?? info.chainUrl ?? environment['TESSERA_CHAIN_URL'];
  if (found !== undefined && found !== '') return found;
  throw new FarmError(
    'USAGE',
    `the farm's contracts are on chain ${info.chainId}: name a provider of it with TESSERA_CHAIN_URL or --chain <url>`,
  );
}

/** That chain, to be read only. */
export function openChain(info: FarmInfo, url: string): FarmChain {
  return ethersChain({
    url,
    ...{ chainId: info.chainId, tokenAddress: info.token, escrowAddress: info.escrow },
    ...{ registryAddress: info.registry, deployedBlock: info.deployedBlock },
    // Nothing is ever sent from here: a key that nobody knows and that owns nothing.
    coordinatorKey: newPrivateKey(),
    embedded: null,
  });
}

export type Sources = {
  client: FarmClient;
  chain: FarmChain;
  blobs: HttpBlobs;
  folder: string;
  signal: AbortSignal;
};

export async function readBooks(id: JobId, sources: Sources): Promise<Books> {
  const { client, chain, signal } = sources;
  const [job, views, frames] = await Promise.all([
    client.job(id, signal),
    client.batches(id, signal),
    client.frames(id, signal),
  ]);
  const chainJob = await chain.job(jobKey(id), signal);
  const batches: AuditedBatch[] = [];
  for (const view of views) {
    // Settled before there were lanes: on contracts that nobody asks any more.
    if (view.batchKey === null) continue;
    const onChain = await chain.batch(view.batchKey, signal);
    batches.push({
      view,
      onChain,
      receipts: await client.receipts(id, view.id, signal),
      evidence: await readEvidence(onChain.evidence, sources),
    });
  }
  return { job, chainJob, batches, frames };
}

/** By the digest on chain: what the farm says the evidence is does not matter. Null where there is none to be had. */
export async function readEvidence(
  named: Bytes32 | null,
  { blobs, folder, signal }: Pick<Sources, 'blobs' | 'folder' | 'signal'>,
): Promise<Evidence | null> {
  if (named === null) return null;
  const path = join(folder, `evidence-${randomUUID()}`);
  try {
    await blobs.fetchTo(named.slice('0x'.length) as Digest, path, signal, MAX_EVIDENCE_BYTES);
    return evidenceSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if (signal.aborted || (error instanceof FarmError && error.code === 'FARM_UNREACHABLE')) throw error;
    return null;
  }
}
