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
  const expected: Record<string, unknown> = {
    jobId: task.job_id,
    taskId: task.id,
    kind: task.kind,
    frame: task.frame,
    'rect.x': task.x,
    'rect.y': task.y,
    'rect.width': task.width,
    'rect.height': task.height,
    samples: task.samples,
    price: BigInt(task.price),
    node: node.address,
    engine: node.engine,
    deviceClass: node.device_class,
    'picture given': task.kind !== 'render',
    // The compositor, which writes them, runs over whole frames only.
    'extra files of a tile': false,
  };
  const actual: Record<string, unknown> = {
    ...receipt,
    'rect.x': receipt.rect.x,
    'rect.y': receipt.rect.y,
    'rect.width': receipt.rect.width,
    'rect.height': receipt.rect.height,
    'picture given': receipt.pictureDigest !== null,
    'extra files of a tile': task.kind === 'render' && receipt.extraFilesDigest !== undefined,
  };
  for (const [field, value] of Object.entries(expected)) {
    if (actual[field] !== value) {
      throw new FarmError(
        'MESSAGE_INVALID',
        `the receipt's ${field} is ${String(actual[field])}, the task's is ${String(value)}`,
      );
    }
  }
}
