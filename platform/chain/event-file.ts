/**
 * Settled events on disk: lines that are only ever added, a line with a block after those of its step. What follows the
 * last such line was cut off by a crash and is asked for again.
 */
import { open, truncate } from 'node:fs/promises';
import { z } from 'zod';
import { addressSchema, bytes32Schema } from '../../protocol/ids.ts';
import { diskError, readTextIfThere, writeFileAtomic } from '../files.ts';
import { type BlockRef, type Followed, type FollowedLog, NOTHING_FOLLOWED } from './followed-events.ts';

const headerSchema = z.object({ version: z.literal(1), of: z.string() });
const logSchema = z.object({
  blockNumber: z.string().transform(BigInt),
  logIndex: z.number(),
  txHash: bytes32Schema,
  address: addressSchema,
  topics: z.array(z.string()),
  data: z.string(),
});
const lineSchema = z.union([
  z.object({ log: logSchema }),
  z.object({ upTo: z.object({ number: z.string().transform(BigInt), hash: z.string() }) }),
]);

/** What the file holds of these events; nothing when there is none, or when it is of others. `of` names them. */
export async function readEventFile(file: string, of: string): Promise<Followed> {
  const text = await readTextIfThere(file);
  const [first, ...lines] = (text ?? '').split('\n');
  const header = headerSchema.safeParse(parsed(first ?? ''));
  if (!header.success || header.data.of !== of) {
    await resetEventFile(file, of);
    return NOTHING_FOLLOWED;
  }
  const settled: FollowedLog[] = [];
  let checkpoint: BlockRef | null = null;
  let whole = (first ?? '').length + 1;
  let read = whole;
  let pending: FollowedLog[] = [];
  for (const line of lines) {
    read += Buffer.byteLength(line) + 1;
    const entry = lineSchema.safeParse(parsed(line));
    if (!entry.success) break;
    if ('log' in entry.data) {
      pending.push(entry.data.log);
      continue;
    }
    settled.push(...pending);
    pending = [];
    checkpoint = entry.data.upTo;
    whole = read;
  }
  const size = Buffer.byteLength(text ?? '');
  if (whole < size) await truncate(file, whole);
  return { checkpoint, settled, recent: [] };
}

/** Adds a step that is settled now. On disk when it resolves. */
export async function appendEvents(
  file: string,
  logs: readonly FollowedLog[],
  upTo: BlockRef,
): Promise<void> {
  const lines = [...logs.map((log) => ({ log })), { upTo }].map((line) =>
    JSON.stringify(line, (_, value) => (typeof value === 'bigint' ? value.toString() : value)),
  );
  try {
    const handle = await open(file, 'a', 0o600);
    try {
      await handle.writeFile(`${lines.join('\n')}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw diskError(error, file);
  }
}

/** Begins anew: what was settled is not on this chain any more. */
export async function resetEventFile(file: string, of: string): Promise<void> {
  await writeFileAtomic(file, `${JSON.stringify({ version: 1, of })}\n`);
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
