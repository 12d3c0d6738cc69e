/** `tessera ledger check`: whether the farm's ledger is what the chain says, to the smallest unit. */

import { escrowBooks } from '../../platform/chain/read-books.ts';
import { toJson } from '../../platform/json.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { FarmInfo } from '../../protocol/http.ts';
import { findingLine } from '../audit/audit-table.ts';
import { chainUrlOf, openChain } from '../audit/read-books.ts';
import type { FarmClient } from '../farm-client.ts';
import type { Terminal } from '../terminal.ts';
import { type Ledger, reconcile } from './reconcile.ts';

export type LedgerOptions = { chain?: string; json?: boolean };

/** A farm at work moves money between two questions; after so many it is not going to stand still. */
const MAX_READS = 20;

/** Throws LEDGER_DIFFERS after the table where anything does not hold. */
export async function ledgerCommand(
  options: LedgerOptions,
  client: FarmClient,
  terminal: Terminal,
): Promise<void> {
  const { signal } = terminal;
  const info = await client.info(signal);
  const url = chainUrlOf(info, options.chain, terminal.environment);
  const ledger = await readLedger(client, info, url, signal);
  const findings = reconcile(ledger);
  if (options.json) terminal.result(toJson({ block: ledger.books.upTo, findings }));
  else {
    terminal.result(`the ledger and the chain as of block ${ledger.books.upTo}`);
    for (const finding of findings) terminal.result(findingLine(finding));
  }
  const broken = findings.filter(({ holds }) => !holds).map(({ what }) => what);
  if (broken.length === 0) return;
  throw new FarmError('LEDGER_DIFFERS', `these do not hold: ${broken.join(', ')}`, {
    kept: 'Nothing was changed; the money is where the chain says.',
  });
}

/** The farm is asked first: the chain may be ahead of it, never behind. Balances and books are of one block. */
async function readLedger(
  client: FarmClient,
  info: FarmInfo,
  url: string,
  signal: AbortSignal,
): Promise<Ledger & { books: { upTo: bigint } }> {
  const chain = openChain(info, url);
  const deployment = {
    ...{ chainId: info.chainId, tokenAddress: info.token, escrowAddress: info.escrow },
    ...{ registryAddress: info.registry, deployedBlock: info.deployedBlock },
  };
  const jobs = await client.allJobs(signal);
  const batches = (await Promise.all(jobs.map((job) => client.batches(job.id, signal)))).flat();
  for (let read = 0; read < MAX_READS; read++) {
    const books = await escrowBooks(url, deployment, { signal });
    const escrow = await chain.tokenBalance(info.escrow, signal);
    const registry = await chain.tokenBalance(info.registry, signal);
    if ((await chain.blockNumber(signal)) === books.upTo)
      return { jobs, batches, books, balances: { escrow, registry } };
  }
  throw new FarmError('CHAIN_UNAVAILABLE', `the chain moved on during each of ${MAX_READS} readings`);
}
