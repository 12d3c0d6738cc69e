/** From receipts to a signed batch: journal, root, signature. */
import { jobKey, partsOfBatchKey } from '../platform/chain/keys.ts';
import { type PrivateKey, type SigningDomain, signCommit } from '../platform/chain/signing.ts';
import { receiptRoot } from '../proof/receipts.ts';
import { FarmError } from '../protocol/errors.ts';
import type { Bytes32 } from '../protocol/ids.ts';
import type { BatchSignature, LeaseGrant } from '../protocol/messages.ts';
import type { Receipt } from '../protocol/receipt.ts';
import type { ReceiptJournal } from './receipt-journal.ts';

/** A receipt beside its leaf, which takes most of a millisecond to make. */
export type Leaf = { receipt: Receipt; leaf: Bytes32 };

/**
 * Signs the batch with these receipts on top. Throws MESSAGE_INVALID when the batch holds a leaf that this node never
 * signed, or has a name on chain that is another node's: it would be paid, and punished, for somebody else's work.
 */
export async function signBatch(
  receipts: readonly Leaf[],
  batch: LeaseGrant['batch'],
  tools: { journal: ReceiptJournal; domain: SigningDomain; key: PrivateKey },
): Promise<BatchSignature> {
  const [first] = receipts;
  if (first === undefined || !tools.journal.knowsAll(batch.leaves)) {
    throw new FarmError(
      'MESSAGE_INVALID',
      `batch ${batch.batchId} holds a receipt that this node did not sign`,
    );
  }
  const { node } = partsOfBatchKey(batch.batchKey);
  if (node !== first.receipt.node) {
    throw new FarmError(
      'MESSAGE_INVALID',
      `batch ${batch.batchId} is one of ${node} on chain, not of this node`,
    );
  }
  const own = receipts.map(({ leaf }) => leaf);
  await tools.journal.add(own);
  const leaves = [...batch.leaves, ...own];
  const root = receiptRoot(leaves);
  const amount = receipts.reduce((sum, { receipt }) => sum + receipt.price, batch.amount);
  const terms = {
    jobKey: jobKey(first.receipt.jobId),
    batchKey: batch.batchKey,
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
