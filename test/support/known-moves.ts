/** What real contracts do, held against the table of states that docs/states.md shows. */
import { expect } from 'vitest';
import { BATCH_MACHINE } from '../../coordinator/states/batch.ts';
import { type BatchEvent, emptyFold, type FoldedBatch, nextFold } from '../../platform/chain/batch-fold.ts';
import { escrow } from '../../platform/chain/contracts.ts';
import type { FollowedLog } from '../../platform/chain/followed-events.ts';
import type { Bytes32 } from '../../protocol/ids.ts';

/** Every batch moves along the table and by the event that stands there. Returns the edges that were walked. */
export function requireKnownMoves(logs: readonly FollowedLog[]): Set<string> {
  const folds = new Map<Bytes32, FoldedBatch>();
  const walked = new Set<string>();
  for (const log of logs) {
    const event = escrow.event(log);
    if (event === null || !('batchKey' in event.args)) continue;
    const before = folds.get(event.args.batchKey) ?? emptyFold(event.args.batchKey);
    const after = nextFold(before, event as BatchEvent);
    folds.set(after.batchKey, after);
    if (before.state === after.state) continue;
    const move = `${before.state} ${after.state} ${event.name}`;
    if (before.state === 'none') {
      expect(BATCH_MACHINE.initial, move).toContain(after.state);
      continue;
    }
    const edge = BATCH_MACHINE.edges.find(({ from, to }) => from === before.state && to === after.state);
    expect(edge?.events, move).toEqual([event.name]);
    walked.add(move);
  }
  return walked;
}
