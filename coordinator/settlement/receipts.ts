/** Receipts in and out of the database: stored as they travel, read back through the schema. */

import { toJson } from '../../platform/json.ts';
import { type Receipt, receiptSchema } from '../../protocol/receipt.ts';
import type { StoredReceipt } from '../database/schema.ts';

export function storeReceipt(receipt: Receipt): string {
  return toJson(receipt);
}

/** The receipt of a delivered task. Throws when the row has none: the caller asked for a task in the wrong state. */
export function receiptOf(row: { id: string; receipt: StoredReceipt | null }): Receipt {
  if (row.receipt === null) throw new Error(`task ${row.id} has no receipt`);
  return receiptSchema.parse(row.receipt);
}
