/**
 * A farm's ledger held against the chain, to the smallest unit: what the farm says of its jobs and batches, what the
 * contracts' events add up to, and what the contracts own. Pure.
 *
 * The chain may be ahead by what the farm has not noted yet; it may never be behind, and what the farm calls settled or
 * closed has to be the same on both sides.
 */

import type { BatchBooks, EscrowBooks } from '../../platform/chain/escrow-books.ts';
import { jobKey } from '../../platform/chain/keys.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { JobView } from '../../protocol/job.ts';
import type { BatchView } from '../../protocol/verdict.ts';
import type { Finding } from '../audit/books.ts';
import { formatTokens } from '../render/parse-options.ts';

type Job = Pick<JobView, 'id' | 'escrow' | 'quote' | 'spent' | 'refunded'>;
type Batch = Pick<BatchView, 'id' | 'state' | 'batchKey' | 'outcome' | 'amount' | 'slashed'>;

export type Ledger = {
  jobs: readonly Job[];
  /** Of these jobs. */
  batches: readonly Batch[];
  books: EscrowBooks;
  /** Token balances of the two contracts, as of the block that the books are of. */
  balances: { escrow: bigint; registry: bigint };
};

/** One line for each thing that has to hold. */
export function reconcile(ledger: Ledger): Finding[] {
  return [jobs(ledger), batches(ledger), sums(ledger), escrowOwns(ledger), registryOwns(ledger)];
}

function jobs({ jobs, books }: Ledger): Finding {
  const opened = jobs.filter(({ escrow }) => escrow !== 'none');
  const wrong = opened.flatMap((job) => {
    const onChain = books.jobs.get(jobKey(job.id));
    if (onChain === undefined) return [`${job.id} is not on chain`];
    const { funded, released, refunded, free, reserved, state } = onChain;
    if (funded < job.quote) return [`${job.id} was funded with ${funded} of ${job.quote}`];
    if (job.escrow === 'open')
      return job.spent > released ? [`${job.id} spent ${job.spent}, the chain released ${released}`] : [];
    const same = released === job.spent && refunded === job.refunded && free === 0n && reserved === 0n;
    if (same && state === 'closed') return [];
    const chain = `released ${released}, refunded ${refunded}, free ${free}, reserved ${reserved}, ${state}`;
    return [`${job.id}: spent ${job.spent}, refunded ${job.refunded}; on chain ${chain}`];
  });
  const closed = opened.filter(({ escrow }) => escrow === 'closed').length;
  return finding(
    'jobs',
    wrong,
    `${opened.length} with money, ${closed} of them closed: to the unit as on chain`,
  );
}

function batches({ batches, books }: Ledger): Finding {
  const known = new Map(batches.flatMap((one) => (one.batchKey === null ? [] : [[one.batchKey, one]])));
  const ours = new Set(books.jobs.keys());
  const wrong = [
    ...batches.flatMap((batch) => batchProblem(batch, books.batches)),
    ...[...books.batches.values()]
      .filter(({ batchKey, jobKey: job }) => ours.has(job) && !known.has(batchKey))
      .map(({ batchKey }) => `${batchKey} is on chain, and of no job here`),
  ];
  const settled = batches.filter(({ state }) => state === 'settled').length;
  return finding('batches', wrong, `${settled} settled, ${batches.length - settled} under way`);
}

function batchProblem(batch: Batch, onChain: ReadonlyMap<Bytes32, BatchBooks>): string[] {
  if (batch.state !== 'settled' || batch.batchKey === null) return [];
  const chain = onChain.get(batch.batchKey);
  const passed = batch.outcome === 'pass';
  // What the escrow refused, or gave back unjudged, pays nobody and is rendered again.
  if (chain === undefined || chain.state === 'expired')
    return passed ? [`${batch.id} counts as paid, and is ${chain?.state ?? 'not on chain'}`] : [];
  if (chain.state !== 'settled') return [`${batch.id} is settled here, and ${chain.state} on chain`];
  const due = passed ? BigInt(batch.amount) : 0n;
  const paid = chain.paid + chain.fee;
  if (chain.outcome !== batch.outcome || paid !== due)
    return [`${batch.id} is ${batch.outcome} for ${due}; on chain ${chain.outcome} for ${paid}`];
  if (chain.slashed !== BigInt(batch.slashed))
    return [`${batch.id} cost ${batch.slashed} of stake here, ${chain.slashed} on chain`];
  return [];
}

function sums({ books }: Ledger): Finding {
  const wrong = [...books.jobs.values()]
    .filter((job) => job.funded !== job.released + job.refunded + job.free + job.reserved)
    .map(({ jobKey: key }) => `${key} does not add up`);
  return finding('sums', wrong, 'funded = released + refunded + free + reserved, in every job');
}

function escrowOwns({ books, balances }: Ledger): Finding {
  let owed = books.bonds;
  for (const { free, reserved } of books.jobs.values()) owed += free + reserved;
  for (const { credited, withdrawn } of books.accounts.values()) owed += credited - withdrawn;
  return owns('escrow', balances.escrow, owed);
}

function registryOwns({ books, balances }: Ledger): Finding {
  let owed = 0n;
  for (const { staked, unstaked, slashed } of books.stakes.values()) owed += staked - unstaked - slashed;
  return owns('stake', balances.registry, owed);
}

/** More than is owed is somebody's gift: nobody can be kept from sending tokens to an address. */
function owns(what: string, balance: bigint, owed: bigint): Finding {
  const gift = balance > owed ? `, ${formatTokens(balance - owed)} more were sent to it` : '';
  const short = balance < owed ? [`${balance} are there, ${owed} are owed`] : [];
  return finding(what, short, `${formatTokens(owed)} TESS owed and there${gift}`);
}

/** Differences beyond these say the same again. */
const SHOWN = 3;

function finding(what: string, wrong: readonly string[], detail: string): Finding {
  if (wrong.length === 0) return { what, holds: true, detail };
  const more = wrong.length > SHOWN ? `; and ${wrong.length - SHOWN} more` : '';
  return { what, holds: false, detail: `${wrong.slice(0, SHOWN).join('; ')}${more}` };
}
