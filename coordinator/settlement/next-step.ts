/**
 * What to do next with a batch, from what the database and the chain say about it. Pure.
 *
 * The chain is the truth about money: the database may be ahead of it (the embedded chain was killed and lost its last
 * second) or behind (this process died between a transaction and its note), and both come out right, since each step
 * is chosen from the chain's state and a step that was taken already is refused by the contract.
 */

import type { ChainBatch, BatchState as ChainBatchState } from '../../platform/chain/chain.ts';
import { assertNever } from '../../protocol/errors.ts';
import type { BatchState, Outcome } from '../../protocol/verdict.ts';

export type BatchStep =
  /** Put root and price on chain. */
  | 'commit'
  /** On chain: note it and wait for the verifier's secret. */
  | 'await-secret'
  /** The seed is drawn: note it and wait for the verdict. */
  | 'await-verdict'
  /** The verdict is here: put it on chain. */
  | 'attest'
  /** The verdict is on chain: move the money. */
  | 'settle'
  /** The money has moved: note what follows for the tasks. */
  | 'apply'
  /** No verdict came in the contract's time and the money went back: the tasks are rendered again. */
  | 'apply-expired';

export function nextStep(
  row: { state: BatchState; outcome: Outcome | null; seed: string | null },
  chain: Pick<ChainBatch, 'state' | 'seed'>,
): BatchStep | null {
  if (row.state === 'open' || row.state === 'settled') return null;
  const state: ChainBatchState = chain.state;
  switch (state) {
    case 'none':
      return 'commit';
    case 'committed':
      return 'await-secret';
    case 'drawn':
      // A verdict on another seed (the chain forgot a draw and drew again) is a verdict on nothing.
      return row.state === 'judged' && row.outcome !== null && row.seed === chain.seed
        ? 'attest'
        : 'await-verdict';
    case 'attested':
      return 'settle';
    case 'settled':
      return 'apply';
    case 'expired':
      return 'apply-expired';
    default:
      return assertNever(state);
  }
}
