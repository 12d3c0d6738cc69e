import type { NodeView } from '../../protocol/job.ts';
import type { StateMachine } from './machine.ts';

type NodeState = NodeView['state'];

export const NODE_MACHINE: StateMachine<NodeState> = {
  name: 'node',
  table: null,
  states: {
    online: 'It was heard of within three lease times.',
    offline: 'It was not; its leases run out and others get its tasks.',
    quarantined: 'It failed a check and gets no work for a while.',
  },
  initial: ['online'],
  final: [],
  edges: [
    { from: 'online', to: 'offline', events: ['node.silent'], reason: 'nothing was heard of it' },
    { from: 'offline', to: 'online', events: ['node.seen'], reason: 'it said hello or sent a heartbeat' },
    { from: 'online', to: 'quarantined', events: ['node.quarantined'], reason: 'a batch of it failed' },
    { from: 'offline', to: 'quarantined', events: ['node.quarantined'], reason: 'a batch of it failed' },
    { from: 'quarantined', to: 'online', events: ['quarantine.over'], reason: 'its time is over' },
    {
      from: 'quarantined',
      to: 'offline',
      events: ['quarantine.over'],
      reason: 'its time is over and nothing was heard of it',
    },
  ],
};

/** Not stored: it follows from when the node was heard of and until when it is in quarantine. */
export function nodeState(
  row: { last_seen_at: Date; quarantined_until: Date | null },
  nowMs: number,
  onlineSince: Date,
): NodeState {
  if ((row.quarantined_until?.getTime() ?? 0) > nowMs) return 'quarantined';
  return row.last_seen_at > onlineSince ? 'online' : 'offline';
}
