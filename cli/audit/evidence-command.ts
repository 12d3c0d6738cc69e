/** `tessera evidence`: every verdict on a batch, replayed by whoever doubts them. */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import type { ChainBatch, Word } from '../../platform/chain/chain.ts';
import { renderCrop } from '../../platform/checking/reference.ts';
import { runtimeFor } from '../../platform/checking/runtime-for.ts';
import { toJson } from '../../platform/json.ts';
import { type PixelImage, readRawPixels } from '../../proof/pixels.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { BatchId, Digest } from '../../protocol/ids.ts';
import type { Comparison, Evidence, VerifierRole } from '../../protocol/verdict.ts';
import type { FarmClient } from '../farm-client.ts';
import type { Terminal } from '../terminal.ts';
import { appealLine, EVIDENCE_HEAD, evidenceLine, findingLine, type Looked } from './audit-table.ts';
import type { Finding } from './books.ts';
import { fetchScene, type Means, openSession, ownRuntimes, toolsFor } from './machine.ts';
import { chainUrlOf, openChain, readEvidence } from './read-books.ts';
import { replayComparison, sameAsReference } from './replay.ts';

export type EvidenceOptions = { render: boolean; chain?: string; json?: boolean };

/** A crop of 128 x 128 pixels with hundreds of passes. */
const MAX_CROP_BYTES = 64 * 1024 * 1024;

/** Throws AUDIT_FAILED after the table where anything does not hold. */
export async function evidenceCommand(
  batchId: BatchId,
  options: EvidenceOptions,
  client: FarmClient,
  terminal: Terminal,
): Promise<void> {
  const { signal } = terminal;
  const folder = await mkdtemp(join(tmpdir(), 'tessera-evidence-'));
  try {
    const info = await client.info(signal);
    const chain = openChain(info, chainUrlOf(info, options.chain, terminal.environment));
    const means: Means = { client, blobs: new HttpBlobs(client.address), folder };
    const { batchKey, appeal } = await client.batch(batchId, signal);
    const onChain = batchKey === null ? null : await chain.batch(batchKey, signal);
    const words = onChain === null ? [] : wordsOf(onChain);
    if (onChain === null || words.length === 0) {
      const state = onChain?.state ?? 'none';
      throw new FarmError('NOT_FOUND', `the chain has no verdict on ${batchId}; its state there is ${state}`);
    }
    const say = (line: string): void => (options.json ? undefined : terminal.result(line));
    const { verifiers } = info;
    const replays: Replay[] = [];
    for (const { role, ...word } of words) {
      const name = verifiers.find(({ address }) => address === word.verifier)?.id ?? word.verifier;
      say(`${batchId}: ${word.outcome} by ${name} (${role})`);
      replays.push(await replay({ ...word, name, role }, onChain, options, { ...means, say }, terminal));
    }
    if (appeal !== null) say(appealLine(appeal));
    if (options.json) terminal.result(toJson({ batch: batchId, batchKey, verdicts: replays, appeal }));
    const broken = replays.filter(({ holds }) => !holds);
    if (broken.length === 0) return say('every verdict is what its evidence says');
    const names = broken.map(({ verifier }) => verifier).join(', ');
    throw new FarmError(
      'AUDIT_FAILED',
      `the evidence on ${batchId} should hold, and that of ${names} does not`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type Spoken = Word & { role: VerifierRole };

/** Every word on chain, in the order in which they were asked for. */
function wordsOf({ first, second, votes }: ChainBatch): Spoken[] {
  return [
    ...(first === null ? [] : [{ ...first, role: 'first' as const }]),
    ...(second === null ? [] : [{ ...second, role: 'second' as const }]),
    ...votes.map((vote) => ({ ...vote, role: 'committee' as const })),
  ];
}

/** One verdict, looked at again. */
type Replay = {
  verifier: string;
  role: VerifierRole;
  holds: boolean;
  finding: Finding;
  looked: Looked[];
  evidence: Evidence | null;
};

async function replay(
  { name, role, ...word }: Spoken & { name: string },
  onChain: ChainBatch,
  options: EvidenceOptions,
  { say, ...means }: Means & { say: (line: string) => void },
  terminal: Terminal,
): Promise<Replay> {
  const { signal } = terminal;
  const evidence = await readEvidence(word.evidence, { ...means, signal });
  const finding = onChainFinding(evidence, word, onChain);
  say(findingLine(finding));
  const looked: Looked[] = [];
  if (evidence !== null) {
    say(`found with ${evidence.engine} on ${evidence.referenceClass ?? evidence.deviceClass}`);
    say(EVIDENCE_HEAD);
    await using renderer = options.render ? await openRenderer(evidence, means, terminal) : null;
    for (const comparison of evidence.comparisons) {
      const found = await look(comparison, evidence, means, renderer, signal);
      looked.push(found);
      say(evidenceLine(found));
    }
  }
  const bad = looked.some(({ replayed, rendered }) => !replayed.holds || rendered?.holds === false);
  return { verifier: name, role, holds: finding.holds && !bad, finding, looked, evidence };
}

function onChainFinding(evidence: Evidence | null, word: Word, onChain: ChainBatch): Finding {
  const what = 'on chain';
  if (evidence === null) {
    return { what, holds: false, detail: `the evidence ${word.evidence} that the chain names cannot be had` };
  }
  const agrees =
    evidence.root === onChain.root && evidence.seed === onChain.seed && evidence.outcome === word.outcome;
  return {
    what,
    holds: agrees,
    detail: agrees
      ? 'root, seed and outcome are those of the chain'
      : 'the bundle speaks of another root, seed or outcome than the chain',
  };
}

type Renderer = { render: (comparison: Comparison) => Promise<PixelImage> } & AsyncDisposable;

async function openRenderer(evidence: Evidence, means: Means, terminal: Terminal): Promise<Renderer> {
  const { signal } = terminal;
  const runtime = runtimeFor(await ownRuntimes(means.folder, terminal), {
    engine: evidence.engine,
    deviceClass: evidence.referenceClass ?? evidence.deviceClass,
  });
  const scene = await fetchScene(evidence.scene, means, signal);
  const session = await openSession(runtime, scene, signal);
  return {
    async render({ index, frame, crop, samples }) {
      const tools = toolsFor(session, `again-${index}`, means, signal);
      await mkdir(tools.folder, { recursive: true });
      const { precision } = evidence;
      return (await renderCrop({ index, frame, crop, samples, precision }, tools)).pixels;
    },
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

async function look(
  comparison: Comparison,
  evidence: Evidence,
  means: Means,
  renderer: Renderer | null,
  signal: AbortSignal,
): Promise<Looked> {
  const { reference, claim } = comparison;
  const { index } = comparison;
  if (reference === null || claim === null) {
    const replayed = { index, holds: true, detail: 'no crop was compared here' };
    return { comparison, replayed, rendered: null };
  }
  const stored = await Promise.all([reference, claim].map(({ blob }) => fetchPixels(blob, means, signal)));
  const [ours, theirs] = stored;
  const replayed =
    ours == null || theirs == null
      ? sameByDigest(comparison)
      : replayComparison(comparison, evidence.thresholds, { reference: ours, claim: theirs });
  const again = await renderer?.render(comparison);
  const rendered = again === undefined ? null : sameAsReference(comparison, again, ours ?? null);
  return { comparison, replayed, rendered };
}

/** Without pixels only equal ones can be vouched for: their digests are the same. */
function sameByDigest({ index, reference, claim, decidedBy }: Comparison) {
  const holds = reference?.pixelDigest === claim?.pixelDigest;
  const detail = holds
    ? 'equal in every bit, so no pixels were kept'
    : `decided by ${decidedBy}, and the pixels are not kept`;
  return { index, holds, detail };
}

async function fetchPixels(
  blob: Digest | null,
  { blobs, folder }: Means,
  signal: AbortSignal,
): Promise<PixelImage | null> {
  if (blob === null) return null;
  const path = join(folder, blob);
  await blobs.fetchTo(blob, path, signal, MAX_CROP_BYTES);
  return readRawPixels(await readFile(path));
}
