/** Receipts out of the database: stored as they travel, read back through the schema. */

import { type Receipt, receiptSchema } from '../../protocol/receipt.ts';
import type { StoredReceipt } from '../database/schema.ts';

/** The receipt of a delivered task. Throws when the row has none: the caller asked for a task in the wrong state. */
export function receiptOf(row: { id: string; receipt: StoredReceipt | null }): Receipt {
  if (row.receipt === null) throw new Error(`task ${row.id} has no receipt`);
  return receiptSchema.parse(row.receipt);
}
