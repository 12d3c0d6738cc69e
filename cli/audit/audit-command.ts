/** `tessera audit`: whether what was paid for a job was rendered, found out by whoever asks, on their own machine. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import { checkerFor } from '../../platform/checking/runtime-for.ts';
import { toJson } from '../../platform/json.ts';
import { drawChallenge } from '../../proof/draw.ts';
import { sortByLeaf } from '../../proof/receipts.ts';
import { FarmError } from '../../protocol/errors.ts';
import { type Bytes32, bytes32Schema, type JobId } from '../../protocol/ids.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { FarmClient } from '../farm-client.ts';
import { formatTokens } from '../render/parse-options.ts';
import type { Terminal } from '../terminal.ts';
import { AUDIT_HEAD, auditLine, findingLine } from './audit-table.ts';
import { type Books, checkBooks, paidBatches } from './books.ts';
import { fetchScene, type Means, openSession, ownRuntimes, toolsFor } from './machine.ts';
import { chainUrlOf, openChain, readBooks } from './read-books.ts';
import { type Audited, renderAgain } from './render-again.ts';

export type AuditOptions = { tiles: string; seed?: string; chain?: string; json?: boolean };

/** Throws AUDIT_FAILED after the table where anything does not hold. */
export async function auditCommand(
  id: JobId,
  options: AuditOptions,
  client: FarmClient,
  terminal: Terminal,
): Promise<void> {
  const { signal } = terminal;
  const seed = parseSeed(options.seed);
  const folder = await mkdtemp(join(tmpdir(), 'tessera-audit-'));
  try {
    const info = await client.info(signal);
    const chain = openChain(info, chainUrlOf(info, options.chain, terminal.environment));
    const blobs = new HttpBlobs(client.address);
    const books = await readBooks(id, { client, chain, blobs, folder, signal });
    const say = (line: string): void => (options.json ? undefined : terminal.result(line));
    const { name, state, spec } = books.job;
    const paid = formatTokens(books.chainJob.released);
    say(`${name} (${id}, ${state}): ${spec.engine}, paid ${paid} TESS on chain ${chain.chainId}`);
    if (paidBatches(books).length === 0) {
      throw new FarmError('USAGE', `nothing has been paid for ${id} yet, so there is nothing to audit`);
    }
    const findings = checkBooks(books);
    for (const finding of findings) say(findingLine(finding));
    const audited = await auditReceipts(
      books,
      Number(options.tiles),
      seed,
      { client, blobs, folder, say },
      terminal,
    );
    if (options.json) terminal.result(toJson({ job: id, seed, findings, audited }));
    const broken = findings.filter(({ holds }) => !holds).map(({ what }) => what);
    const bad = audited.filter(({ outcome }) => outcome !== 'pass');
    if (broken.length === 0 && bad.length === 0) {
      say('what was paid for was rendered, as far as was looked at');
      return;
    }
    const parts = [
      ...(broken.length === 0 ? [] : [`these do not hold: ${broken.join(', ')}`]),
      ...(bad.length === 0 ? [] : [`${bad.length} of ${audited.length} did not render the same here`]),
    ];
    throw new FarmError('AUDIT_FAILED', `${id}: ${parts.join('; ')}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function auditReceipts(
  books: Books,
  count: number,
  seed: Bytes32,
  means: Means & { say: (line: string) => void },
  terminal: Terminal,
): Promise<Audited[]> {
  const { signal } = terminal;
  const { scene } = books.job.spec;
  const paid = paidBatches(books).flatMap(({ receipts }) => receipts);
  const receipts = sortByLeaf(paid).map(({ receipt }) => receipt);
  if (count === 0) return [];
  const drawn = drawChallenge({ seed, count: receipts.length, receipts, challengeCount: count });
  const runtimes = await ownRuntimes(means.folder, terminal);
  // All of them before the first is rendered: an audit that stops half way has told nothing.
  const chosen = drawn.map(({ index }) => ({
    index,
    ...checkerFor(runtimes, receipts[index] as Receipt),
  }));
  means.say(`${drawn.length} of ${receipts.length} drawn with --seed ${seed}, rendered again here`);
  means.say(AUDIT_HEAD);
  const folder = await fetchScene(scene, means, signal);
  const audited: Audited[] = [];
  for (const runtime of new Set(chosen.map((one) => one.runtime))) {
    await using session = await openSession(runtime, folder, signal);
    for (const { index, thresholds } of chosen.filter((one) => one.runtime === runtime)) {
      const found = await renderAgain(index, receipts, books.job.spec, {
        ...toolsFor(session, `receipt-${index}`, means, signal),
        thresholds,
        hasBlob: (digest) => means.blobs.has(digest, signal),
      });
      audited.push(found);
      means.say(auditLine(found));
    }
  }
  return audited;
}

function parseSeed(text: string | undefined): Bytes32 {
  if (text === undefined) return bytes32Schema.parse(`0x${randomBytes(32).toString('hex')}`);
  const parsed = bytes32Schema.safeParse(text);
  if (!parsed.success)
    throw new FarmError('USAGE', `--seed ${text} is not ${parsed.error.issues[0]?.message}`);
  return parsed.data;
}
