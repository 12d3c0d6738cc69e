/** A node's state, which nobody stores: it follows from when it was heard of and until when it is in quarantine. */
import type { NodeView } from '../../protocol/job.ts';

export function nodeState(
  row: { last_seen_at: Date; quarantined_until: Date | null },
  nowMs: number,
  onlineSince: Date,
): NodeView['state'] {
  if ((row.quarantined_until?.getTime() ?? 0) > nowMs) return 'quarantined';
  return row.last_seen_at > onlineSince ? 'online' : 'offline';
}
