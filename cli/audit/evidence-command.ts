/** `tessera evidence`: one verdict, replayed by whoever doubts it. */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import type { ChainBatch } from '../../platform/chain/chain.ts';
import { batchKey } from '../../platform/chain/keys.ts';
import { renderCrop } from '../../platform/checking/reference.ts';
import { runtimeFor } from '../../platform/checking/runtime-for.ts';
import { toJson } from '../../platform/json.ts';
import { type PixelImage, readRawPixels } from '../../proof/pixels.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { BatchId, Digest } from '../../protocol/ids.ts';
import type { Comparison, Evidence } from '../../protocol/verdict.ts';
import type { FarmClient } from '../farm-client.ts';
import type { Terminal } from '../terminal.ts';
import { EVIDENCE_HEAD, evidenceLine, findingLine, type Looked } from './audit-table.ts';
import type { Finding } from './books.ts';
import { fetchScene, type Means, openSession, ownRuntimes, toolsFor } from './machine.ts';
import { openChain, readEvidence } from './read-books.ts';
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
    const chain = openChain(await client.info(signal), options.chain);
    const means: Means = { client, blobs: new HttpBlobs(client.address), folder };
    const onChain = await chain.batch(batchKey(batchId), signal);
    if (onChain.evidence === null) {
      throw new FarmError(
        'NOT_FOUND',
        `the chain has no verdict on ${batchId}; its state there is ${onChain.state}`,
      );
    }
    const evidence = await readEvidence(onChain.evidence, { ...means, signal });
    if (evidence === null) {
      throw new FarmError(
        'AUDIT_FAILED',
        `the evidence ${onChain.evidence} that the chain names cannot be had`,
      );
    }
    const say = (line: string): void => (options.json ? undefined : terminal.result(line));
    say(`${batchId}: ${evidence.outcome}, found with ${evidence.engine} on ${evidence.deviceClass}`);
    const finding = onChainFinding(batchId, evidence, onChain);
    say(findingLine(finding));
    say(EVIDENCE_HEAD);
    const looked: Looked[] = [];
    await using renderer = options.render ? await openRenderer(evidence, means, terminal) : null;
    for (const comparison of evidence.comparisons) {
      const found = await look(comparison, evidence, means, renderer, signal);
      looked.push(found);
      say(evidenceLine(found));
    }
    if (options.json) terminal.result(toJson({ batch: batchId, finding, looked, evidence }));
    const bad = looked.filter(({ replayed, rendered }) => !replayed.holds || rendered?.holds === false);
    if (finding.holds && bad.length === 0) return say('the verdict is what its evidence says');
    const what = finding.holds ? `${bad.length} of ${looked.length} comparisons do not` : 'it does not';
    throw new FarmError('AUDIT_FAILED', `the evidence of ${batchId} should hold: ${what}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function onChainFinding(batchId: BatchId, evidence: Evidence, onChain: ChainBatch): Finding {
  const { root, seed, outcome } = onChain;
  const agrees =
    evidence.batchId === batchId &&
    evidence.root === root &&
    evidence.seed === seed &&
    evidence.outcome === outcome;
  return {
    what: 'on chain',
    holds: agrees,
    detail: agrees
      ? 'batch, root, seed and outcome are those of the chain'
      : 'the bundle speaks of another batch, root, seed or outcome than the chain',
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
