/** A farm's API as the command line uses it. */
import { z } from 'zod';
import type { FarmAddress } from '../platform/blobs/http-blobs.ts';
import { eventData } from '../platform/http/event-stream.ts';
import { farmFetch } from '../platform/http/farm-fetch.ts';
import { toJson } from '../platform/json.ts';
import { whileUnreachable } from '../platform/retry.ts';
import type { Block, Unblock } from '../protocol/blocks.ts';
import { FarmError } from '../protocol/errors.ts';
import { type LoggedEvent, loggedEventSchema } from '../protocol/events.ts';
import {
  API_BASE,
  batchReceiptsSchema,
  type DisputeRequest,
  type FarmInfo,
  type FrameDetail,
  farmInfoSchema,
  frameDetailSchema,
  type InspectionReply,
  inspectionReplySchema,
  type SceneReply,
  sceneReplySchema,
} from '../protocol/http.ts';
import type { BatchId, Digest, JobId, NodeId } from '../protocol/ids.ts';
import {
  type FrameView,
  frameViewSchema,
  type JobRequest,
  type JobView,
  jobViewSchema,
  type NodeView,
  nodeViewSchema,
  type SceneManifest,
  sceneManifestSchema,
} from '../protocol/job.ts';
import type { Receipt } from '../protocol/receipt.ts';
import {
  type AccountChange,
  type AccountView,
  accountViewSchema,
  type Pools,
  poolsSchema,
} from '../protocol/sharing.ts';
import { type BatchView, batchViewSchema } from '../protocol/verdict.ts';
import { type VerifierView, verifierViewSchema } from '../protocol/verifier.ts';
import {
  type QuoteRequest,
  type SignedJob,
  type WalletQuote,
  walletQuoteSchema,
} from '../protocol/wallet.ts';
import { type JobWhy, jobWhySchema } from '../protocol/why.ts';

/** A coordinator that is started again answers within seconds; reading is repeated that long. */
const PATIENCE_MS = 60_000;

export class FarmClient {
  readonly address: FarmAddress;

  constructor(address: FarmAddress) {
    this.address = address;
  }

  info(signal: AbortSignal): Promise<FarmInfo> {
    return this.#call('GET', '/farm', farmInfoSchema, undefined, signal);
  }

  submitScene(manifest: SceneManifest, signal: AbortSignal): Promise<SceneReply> {
    return this.#call('POST', '/scenes', sceneReplySchema, manifest, signal);
  }

  /** What a job would cost and whether it can be checked; nothing is submitted. */
  inspectJob(request: JobRequest, signal: AbortSignal): Promise<InspectionReply> {
    return this.#call('POST', '/inspections', inspectionReplySchema, request, signal);
  }

  submitJob(request: JobRequest, signal: AbortSignal): Promise<JobView> {
    return this.#call('POST', '/jobs', jobViewSchema, request, signal);
  }

  /** What a wallet has to sign for a job; nothing is submitted. */
  quote(request: QuoteRequest, signal: AbortSignal): Promise<WalletQuote> {
    return this.#call('POST', '/quotes', walletQuoteSchema, request, signal);
  }

  /** Submits the job of a quote, once however often it is called with the same. */
  acceptQuote(id: JobId, signed: SignedJob, signal: AbortSignal): Promise<JobView> {
    return this.#call('POST', `/quotes/${id}/accept`, jobViewSchema, signed, signal);
  }

  jobs(signal: AbortSignal): Promise<JobView[]> {
    return this.#read('/jobs', z.array(jobViewSchema), signal);
  }

  /** With those of the farm's own that try verifiers: their money is in the books like any other. */
  allJobs(signal: AbortSignal): Promise<JobView[]> {
    return this.#read('/jobs?canaries=true', z.array(jobViewSchema), signal);
  }

  job(id: JobId, signal: AbortSignal): Promise<JobView> {
    return this.#read(`/jobs/${id}`, jobViewSchema, signal);
  }

  /** Why something of it waits. */
  why(id: JobId, signal: AbortSignal): Promise<JobWhy> {
    return this.#read(`/jobs/${id}/why`, jobWhySchema, signal);
  }

  frames(id: JobId, signal: AbortSignal): Promise<FrameView[]> {
    return this.#read(`/jobs/${id}/frames`, z.array(frameViewSchema), signal);
  }

  /** One frame with its files of File Output nodes. */
  frame(id: JobId, frame: number, signal: AbortSignal): Promise<FrameDetail> {
    return this.#read(`/jobs/${id}/frames/${frame}`, frameDetailSchema, signal);
  }

  batches(id: JobId, signal: AbortSignal): Promise<BatchView[]> {
    return this.#read(`/jobs/${id}/batches`, z.array(batchViewSchema), signal);
  }

  batch(id: BatchId, signal: AbortSignal): Promise<BatchView> {
    return this.#read(`/batches/${id}`, batchViewSchema, signal);
  }

  dispute(id: BatchId, request: DisputeRequest, signal: AbortSignal): Promise<BatchView> {
    return this.#call('POST', `/batches/${id}/dispute`, batchViewSchema, request, signal);
  }

  /** What was committed under the batch's root; none for a batch that was not paid. */
  receipts(id: JobId, batch: BatchId, signal: AbortSignal): Promise<Receipt[]> {
    return this.#read(`/jobs/${id}/batches/${batch}/receipts`, batchReceiptsSchema, signal);
  }

  scene(digest: Digest, signal: AbortSignal): Promise<SceneManifest> {
    return this.#read(`/scenes/${digest}`, sceneManifestSchema, signal);
  }

  /**
   * What happens to a job, from after number `seen` on: first what has happened already, then what comes. Ends when the
   * farm ends the connection, throws when it breaks.
   */
  async *events(id: JobId, seen: number, signal: AbortSignal): AsyncGenerator<LoggedEvent> {
    const headers = { accept: 'text/event-stream', 'last-event-id': String(seen) };
    const response = await farmFetch(this.address, `${API_BASE}/jobs/${id}/events`, { headers, signal });
    for await (const data of eventData(response)) yield loggedEventSchema.parse(JSON.parse(data));
  }

  cancel(id: JobId, signal: AbortSignal): Promise<JobView> {
    return this.#call('POST', `/jobs/${id}/cancel`, jobViewSchema, {}, signal);
  }

  /** Keeps a node away from a job, or from one task of it. */
  block(id: JobId, asked: Block, signal: AbortSignal): Promise<JobView> {
    return this.#call('POST', `/jobs/${id}/block`, jobViewSchema, asked, signal);
  }

  unblock(id: JobId, asked: Unblock, signal: AbortSignal): Promise<JobView> {
    return this.#call('POST', `/jobs/${id}/unblock`, jobViewSchema, asked, signal);
  }

  verifiers(signal: AbortSignal): Promise<VerifierView[]> {
    return this.#read('/verifiers', z.array(verifierViewSchema), signal);
  }

  nodes(signal: AbortSignal): Promise<NodeView[]> {
    return this.#read('/nodes', z.array(nodeViewSchema), signal);
  }

  setPools(id: NodeId, pools: readonly string[], signal: AbortSignal): Promise<Pools> {
    return this.#call('PUT', `/nodes/${id}/pools`, poolsSchema, { pools }, signal);
  }

  /** What is left out stays as it is. */
  changeAccount(name: string, change: AccountChange, signal: AbortSignal): Promise<AccountView> {
    return this.#call('PUT', `/accounts/${name}`, accountViewSchema, change, signal);
  }

  /** Reading can be repeated, so a farm that is away for a moment is waited for. */
  #read<S extends z.ZodType>(path: string, schema: S, signal: AbortSignal): Promise<z.output<S>> {
    return whileUnreachable(() => this.#call('GET', path, schema, undefined, signal), signal, PATIENCE_MS);
  }

  async #call<S extends z.ZodType>(
    method: string,
    path: string,
    schema: S,
    body: unknown,
    signal: AbortSignal,
  ): Promise<z.output<S>> {
    const response = await farmFetch(this.address, `${API_BASE}${path}`, {
      method,
      signal,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: toJson(body) }),
    });
    const parsed = schema.safeParse(await response.json());
    if (!parsed.success)
      throw new FarmError('MESSAGE_INVALID', `the farm's answer to ${path}: ${parsed.error.message}`);
    return parsed.data;
  }
}
