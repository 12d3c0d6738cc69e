/** Whether a receipt says what the lease asked for. Pure. */
import { FarmError } from '../../protocol/errors.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { TaskRow } from './claim-run.ts';

/** Throws MESSAGE_INVALID naming the field in which the receipt differs from the task that was leased. */
export function requireReceiptFits(
  receipt: Receipt,
  task: TaskRow,
  node: { address: string; engine: string; device_class: string | null },
): void {
  const { rect } = receipt;
  // Said, expected: in pairs without an object around them, since a farm looks at thousands a second.
  same('jobId', receipt.jobId, task.job_id);
  same('taskId', receipt.taskId, task.id);
  same('kind', receipt.kind, task.kind);
  same('frame', receipt.frame, task.frame);
  same('rect.x', rect.x, task.x);
  same('rect.y', rect.y, task.y);
  same('rect.width', rect.width, task.width);
  same('rect.height', rect.height, task.height);
  same('samples', receipt.samples, task.samples);
  same('price', receipt.price, BigInt(task.price));
  same('node', receipt.node, node.address);
  same('engine', receipt.engine, node.engine);
  same('deviceClass', receipt.deviceClass, node.device_class);
  same('picture given', receipt.pictureDigest !== null, task.kind !== 'render');
  // The compositor, which writes them, runs over whole frames only.
  const ofATile = task.kind === 'render' && receipt.extraFilesDigest !== undefined;
  same('extra files of a tile', ofATile, false);
}

function same(field: string, said: unknown, expected: unknown): void {
  if (said === expected) return;
  throw new FarmError(
    'MESSAGE_INVALID',
    `the receipt's ${field} is ${String(said)}, the task's is ${String(expected)}`,
  );
}
