/**
 * What everybody should have lost of its stake, from the contracts' events and docs/protocol.md alone: written anew
 * here, so that contracts and books are held against the terms and not against themselves. Pure.
 */
import type { ChainTerms } from '../../platform/chain/chain.ts';
import { escrow, registry } from '../../platform/chain/contracts.ts';
import type { FollowedLog } from '../../platform/chain/followed-events.ts';
import { OUTCOME_NUMBERS } from '../../platform/chain/signing.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';

export type Why =
  /** Its secret did not come in time. */
  | 'secret'
  /** Its word did not. */
  | 'silence'
  /** A committee said the opposite. */
  | 'wrong word'
  /** Two verifiers, or a committee, found that its node's batch is not what was to be rendered. */
  | 'failed batch';

export type Loss = { operator: Address; amount: bigint; why: Why; batchKey: Bytes32 };

type Terms = Pick<ChainTerms, 'missPenalty' | 'verifierPenalty' | 'slashFactor' | 'verdictWindowS'>;

/** A batch as far as it tells who loses what. */
type Seen = {
  operator: Address;
  amount: bigint;
  stake: bigint;
  sinceS: number;
  /** First and second. */
  words: { by: Address; outcome: number }[];
  voted: boolean;
  agreed: boolean;
};

/** In the order of the chain; what there was nothing left to take from is no loss. */
export function lossesByTerms(
  logs: readonly FollowedLog[],
  contracts: { escrowAddress: Address; registryAddress: Address },
  terms: Terms,
): Loss[] {
  const losses: Loss[] = [];
  const stakes = new Map<Address, bigint>();
  const operators = new Map<Address, Address>();
  const batches = new Map<Bytes32, Seen>();

  const lose = (operator: Address, due: bigint, why: Why, batchKey: Bytes32): void => {
    const left = stakes.get(operator) ?? 0n;
    const amount = due < left ? due : left;
    if (amount === 0n) return;
    stakes.set(operator, left - amount);
    losses.push({ operator, amount, why, batchKey });
  };
  const operatorOf = (verifier: Address): Address => {
    const operator = operators.get(verifier);
    if (operator === undefined) throw new Error(`${verifier} never joined`);
    return operator;
  };
  const seen = (batchKey: Bytes32): Seen => {
    const batch = batches.get(batchKey);
    if (batch === undefined) throw new Error(`${batchKey} was never committed`);
    return batch;
  };

  for (const log of logs) {
    if (log.address === contracts.registryAddress) {
      const event = registry.event(log);
      if (event?.name === 'Staked')
        stakes.set(event.args.operator, (stakes.get(event.args.operator) ?? 0n) + event.args.amount);
      if (event?.name === 'VerifierJoined') operators.set(event.args.verifier, event.args.operator);
      continue;
    }
    const event = log.address === contracts.escrowAddress ? escrow.event(log) : null;
    switch (event?.name) {
      case 'Committed': {
        const { batchKey, operator, amount, stake, since } = event.args;
        const nothing = { words: [], voted: false, agreed: false };
        batches.set(batchKey, { operator, amount, stake, sinceS: Number(since), ...nothing });
        break;
      }
      case 'Reanchored': {
        const { batchKey, missedBy, since } = event.args;
        seen(batchKey).sinceS = Number(since);
        if (BigInt(missedBy) !== 0n) lose(operatorOf(missedBy), terms.missPenalty, 'secret', batchKey);
        break;
      }
      case 'Drawn':
        seen(event.args.batchKey).sinceS = Number(event.args.since);
        break;
      case 'Replaced': {
        const { batchKey, silent, since } = event.args;
        const batch = seen(batchKey);
        const late = Number(since) > batch.sinceS + terms.verdictWindowS;
        batch.sinceS = Number(since);
        // One that has left is replaced at once, for nothing.
        if (late) lose(operatorOf(silent), terms.missPenalty, 'silence', batchKey);
        break;
      }
      case 'Attested': {
        const { batchKey, by, outcome, since } = event.args;
        const batch = seen(batchKey);
        batch.words.push({ by, outcome });
        batch.sinceS = Number(since);
        break;
      }
      case 'Voted':
        seen(event.args.batchKey).voted = true;
        break;
      case 'Judged': {
        const { batchKey, outcome, agreed, last } = event.args;
        const batch = seen(batchKey);
        batch.agreed = agreed;
        if (!last || !batch.voted) break;
        const { pass, fail } = OUTCOME_NUMBERS;
        for (const word of batch.words) {
          const opposite = [word.outcome, outcome].includes(pass) && [word.outcome, outcome].includes(fail);
          if (opposite) lose(operatorOf(word.by), terms.verifierPenalty, 'wrong word', batchKey);
        }
        break;
      }
      case 'Settled': {
        const { batchKey, outcome } = event.args;
        const { agreed, amount, stake, operator } = seen(batchKey);
        if (outcome !== OUTCOME_NUMBERS.fail || !agreed) break;
        const due = BigInt(terms.slashFactor) * amount;
        lose(operator, due < stake ? due : stake, 'failed batch', batchKey);
        break;
      }
      default:
    }
  }
  return losses;
}
