/** A chain that is there already: what a program is told of it, and what it keeps of it on disk. */
import { join } from 'node:path';
import { z } from 'zod';
import { EMBEDDED_CHAIN_ID } from './embedded.ts';

export const publicChainSchema = z.strictObject({
  /** Another one than the embedded chain's: on that one everybody is given money. */
  chainId: z
    .number()
    .int()
    .positive()
    .refine((id) => id !== EMBEDDED_CHAIN_ID, `${EMBEDDED_CHAIN_ID} is the id of the farm's own chain`),
  /** Blocks on top of a write until it counts as durable. */
  confirmations: z.number().int().min(0),
});

/**
 * In the folder of the program that sends: what it has signed and may be on its way. One program at a time may write it,
 * and nobody else may send with that key.
 */
export function journalFileIn(dataFolder: string): string {
  return join(dataFolder, 'transactions.json');
}

/** Settled events, so that a start does not read all of them again. Each program has its own. */
export function eventsFileIn(dataFolder: string): string {
  return join(dataFolder, 'chain-events.jsonl');
}
