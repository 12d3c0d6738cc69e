/**
 * What a node could send in place of what it should: changes of an honest completion, as data, each with what it hopes for.
 * They need no renderer; what is delivered is right, and what is said about it is not.
 */

import { jobKey } from '../../platform/chain/keys.ts';
import { type SigningDomain, signCommit } from '../../platform/chain/signing.ts';
import { receiptLeaf, receiptRoot } from '../../proof/receipts.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { BatchSignature, LeaseGrant } from '../../protocol/messages.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { TestNode } from '../support/coordinator-context.ts';

export type Forgery = { receipt: Receipt; batch: BatchSignature };
export type ForgeryMeans = {
  /** Who sends it. */
  node: TestNode;
  /** Its own receipt, as an honest node would make it, and somebody else's of another task. */
  receipt: Receipt;
  foreign: Receipt;
  /** What it is to sign on top of. */
  batch: LeaseGrant['batch'];
  domain: SigningDomain;
};

export const FORGERIES: readonly { name: string; hopes: string; make: (means: ForgeryMeans) => Forgery }[] = [
  {
    name: 'copied',
    hopes: "to be paid for another node's result, receipt and all",
    make: ({ foreign, ...means }) => signed({ ...means, receipt: foreign }),
  },
  {
    name: 'copied-over',
    hopes: "to be paid for another node's files under its own task",
    make: ({ foreign, ...means }) =>
      signed({ ...means, receipt: { ...means.receipt, node: foreign.node, exrDigest: foreign.exrDigest } }),
  },
  {
    name: 'other-class',
    hopes: 'to be checked by the limits of another class of devices',
    make: (means) => signed({ ...means, receipt: { ...means.receipt, deviceClass: 'cpu-sse42' } }),
  },
  {
    name: 'fewer-samples',
    hopes: 'to be asked for no more samples than it rendered',
    make: (means) => signed({ ...means, receipt: { ...means.receipt, samples: 4 } }),
  },
  {
    name: 'dearer',
    hopes: 'to be paid more than was agreed',
    make: (means) => signed({ ...means, receipt: { ...means.receipt, price: 10n * means.receipt.price } }),
  },
  {
    name: 'other-chain',
    hopes: 'that a signature from elsewhere holds here',
    make: (means) => signed({ ...means, domain: { ...means.domain, chainId: 1 } }),
  },
  {
    name: 'other-lane',
    hopes: 'to commit under a name that it has committed under before',
    make: (means) =>
      signed({
        ...means,
        batch: {
          ...means.batch,
          batchKey: `${means.batch.batchKey.slice(0, -1)}0` as Bytes32,
        },
      }),
  },
];

function signed({ node, receipt, batch, domain }: Omit<ForgeryMeans, 'foreign'>): Forgery {
  const leaves = [...batch.leaves, receiptLeaf(receipt)];
  const terms = {
    ...{ jobKey: jobKey(receipt.jobId), batchKey: batch.batchKey, root: receiptRoot(leaves) },
    ...{ count: leaves.length, amount: batch.amount + receipt.price },
  };
  const { root, count, amount } = terms;
  const signature = signCommit(domain, terms, node.key);
  return { receipt, batch: { batchId: batch.batchId, root, count, amount, signature } };
}
