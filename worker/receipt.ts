/** From a result to what the node signs for. */
import { addressOf, type PrivateKey } from '../platform/chain/signing.ts';
import type { EngineInfo } from '../platform/render/runtime.ts';
import type { LeaseGrant } from '../protocol/messages.ts';
import type { Receipt } from '../protocol/receipt.ts';
import type { TaskResult } from './do-task.ts';

/** What this node says it has done. */
export function receiptFor(
  grant: LeaseGrant,
  result: TaskResult,
  engine: EngineInfo,
  key: PrivateKey,
): Receipt {
  return {
    jobId: grant.jobId,
    taskId: grant.taskId,
    kind: grant.kind,
    node: addressOf(key),
    frame: grant.frame,
    rect: grant.rect,
    samples: grant.samples,
    exrDigest: result.exrDigest,
    pixelDigest: result.pixelDigest,
    pictureDigest: result.pictureDigest,
    ...(result.extraFilesDigest === undefined ? {} : { extraFilesDigest: result.extraFilesDigest }),
    engine: engine.id,
    deviceClass: engine.deviceClass,
    price: grant.price,
  };
}
