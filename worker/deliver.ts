/** From a result to a signed batch: receipt, leaf, root, signature. */
import { batchKey, jobKey } from '../platform/chain/keys.ts';
import { addressOf, type PrivateKey, type SigningDomain, signCommit } from '../platform/chain/signing.ts';
import type { EngineInfo } from '../platform/render/runtime.ts';
import { receiptLeaf, receiptRoot } from '../proof/receipts.ts';
import { FarmError } from '../protocol/errors.ts';
import type { BatchSignature, LeaseGrant } from '../protocol/messages.ts';
import type { Receipt } from '../protocol/receipt.ts';
import type { TaskResult } from './do-task.ts';
import type { ReceiptJournal } from './receipt-journal.ts';

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

/**
 * Signs the batch with this receipt on top. Throws MESSAGE_INVALID when the batch holds a leaf that this node never
 * signed: it would be paid, and punished, for somebody else's work.
 */
export async function signBatch(
  receipt: Receipt,
  batch: LeaseGrant['batch'],
  tools: { journal: ReceiptJournal; domain: SigningDomain; key: PrivateKey },
): Promise<BatchSignature> {
  const leaf = receiptLeaf(receipt);
  if (!tools.journal.knowsAll(batch.leaves)) {
    throw new FarmError(
      'MESSAGE_INVALID',
      `batch ${batch.batchId} holds a receipt that this node did not sign`,
    );
  }
  await tools.journal.add(leaf);
  const leaves = [...batch.leaves, leaf];
  const root = receiptRoot(leaves);
  const amount = batch.amount + receipt.price;
  const terms = {
    jobKey: jobKey(receipt.jobId),
    batchKey: batchKey(batch.batchId),
    node: receipt.node,
    root,
    count: leaves.length,
    amount,
  };
  return {
    batchId: batch.batchId,
    root,
    count: leaves.length,
    amount,
    signature: signCommit(tools.domain, terms, tools.key),
  };
}
