/** The tables of migrations/ as Kysely sees them. Money is numeric in SQL and text on the way in and out. */
import type { ColumnType, Generated, JSONColumnType, Kysely, Transaction } from 'kysely';
import type { SavedWith } from '../../platform/render/blend-header.ts';
import type { SceneInspection } from '../../platform/render/runtime.ts';
import type { FarmEvent } from '../../protocol/events.ts';
import type {
  Address,
  BatchId,
  Bytes32,
  Digest,
  JobId,
  NodeId,
  Signature,
  TaskId,
} from '../../protocol/ids.ts';
import type { Admission, FrameView, JobSpec, JobState, SceneManifest } from '../../protocol/job.ts';
import type { TaskKind } from '../../protocol/receipt.ts';
import type { BatchState, Outcome, VerifierRole } from '../../protocol/verdict.ts';
import type { WalletSignatures } from '../../protocol/wallet.ts';
import type { Finding } from '../admission/judge-strips.ts';
import type { FrameRun } from '../splitting/frame-runs.ts';

/** Receipts are stored as they travel: money as text. */
export type StoredReceipt = Record<string, unknown>;

/** The rest of a wallet's terms is in columns of the job. */
export type StoredWalletTerms = { permitNonce: string; signatures: WalletSignatures };

/** `unverified`: its picture is here and nobody has checked it yet; it may be replaced. */
export type FrameState = FrameView['state'];

export type TaskState = 'waiting' | 'queued' | 'leased' | 'delivered' | 'verified' | 'dropped';

type Tables = {
  sign_in_nonces: { nonce: Bytes32; expires_at: Date };
  scenes: {
    digest: Digest;
    manifest: JSONColumnType<SceneManifest>;
    inspection: JSONColumnType<SceneInspection>;
    engine: string | null;
    saved_with: JSONColumnType<SavedWith> | null;
    created_at: Generated<Date>;
  };
  jobs: {
    id: JobId;
    seq: Generated<string>;
    scene: Digest;
    spec: JSONColumnType<JobSpec>;
    /** Out of the spec, which is long: see migration 9. */
    engine: ColumnType<string, never, never>;
    device_class: ColumnType<string | null, never, never>;
    exr: ColumnType<boolean, never, never>;
    warnings: JSONColumnType<string[]>;
    state: JobState;
    reason: string | null;
    escrow: Generated<'none' | 'open' | 'closed'>;
    admission: Generated<Admission>;
    quote: string;
    max_task_price: string;
    deadline_at: Date;
    spent: Generated<string>;
    refunded: Generated<string>;
    created_at: Date;
    finished_at: Date | null;
    /** Of the farm's own, to try verifiers (coordinator/canaries). */
    canary: Generated<boolean>;
    account: Generated<string>;
    /** 1 to 100: a share, not a wall. */
    priority: Generated<number>;
    max_nodes: number | null;
    pool: string | null;
    share_base: number | null;
    /** Whose money it is; null: the farm's own account's. */
    requester: Address | null;
    /** Null unless that is a wallet whose key only its owner has: what it signed. */
    wallet_terms: JSONColumnType<StoredWalletTerms> | null;
    /** Null: its frames are in its spec, and all of its tasks are rows. */
    frame_runs: JSONColumnType<FrameRun[]> | null;
    frames_total: Generated<number>;
    /** How many of its frames are rows. */
    frames_begun: Generated<number>;
    preview_first: Generated<boolean>;
    tasks_total: Generated<number>;
    tasks_verified: Generated<number>;
    frames_done: Generated<number>;
  };
  canaries: { batch_id: BatchId; beside: BatchId; bad: boolean; planted_at: Date };
  accounts: {
    name: string;
    max_nodes: number | null;
    share_base: number | null;
    /** Its own on the chain, and the key of it, encrypted; null: its jobs are paid from the farm's account. */
    address: Address | null;
    sealed_key: string | null;
    cap_per_job: string | null;
    cap_in_all: string | null;
  };
  node_time: { account: string; job_id: JobId | null; ms: number; tasks: number };
  scene_trials: {
    scene: Digest;
    engine: string;
    device_class: string;
    frames: string;
    same: boolean;
    finding: JSONColumnType<Finding>;
    tried_at: Date;
  };
  frames: {
    job_id: JobId;
    frame: number;
    position: number;
    tiles_total: number;
    tiles_verified: Generated<number>;
    /** Checked or not. */
    tiles_delivered: Generated<number>;
    state: Generated<FrameState>;
    exr: Digest | null;
    picture: Digest | null;
    extra_files: Digest | null;
  };
  nodes: {
    id: NodeId;
    address: Address;
    engine: string;
    device_class: string;
    /** Device class by engine id. */
    engines: ColumnType<Record<string, string>, string | undefined, string>;
    gpus: ColumnType<NodeGpu[], string | undefined, string>;
    /** Names that the operator gave. */
    pools: ColumnType<string[], string | undefined, string>;
    last_seen_at: Date;
    quarantined_until: Date | null;
    reason: string | null;
    tasks_verified: Generated<number>;
    tasks_forfeited: Generated<number>;
    /** As the registry names it; null: not registered. */
    operator: Address | null;
    /** What was signed for the registry, as it travelled. */
    enrolment: JSONColumnType<Record<string, unknown>> | null;
    slashed: Generated<string>;
    canary: Generated<boolean>;
    /** Whether it wants to hear of failed batches. */
    appeals: Generated<boolean>;
  };
  batches: {
    id: BatchId;
    seq: Generated<string>;
    job_id: JobId;
    node_id: NodeId;
    node_address: Address;
    kind: TaskKind;
    state: BatchState;
    receipts: Generated<number>;
    amount: Generated<string>;
    root: Bytes32 | null;
    signature: Signature | null;
    opened_at: Date;
    /** Null only in batches that were settled before there were lanes. */
    lane: number | null;
    generation: string | null;
    chain_key: Bytes32 | null;
    seed: Bytes32 | null;
    /** When the seed was noted here. */
    drawn_at: Date | null;
    /** Whose secret or word the chain waits for, as it was noted last. */
    asked: ColumnType<Address[], string | undefined, string>;
    /** Drawn EXRs that were missing when the node's time was up. */
    withheld: JSONColumnType<Digest[]> | null;
    /** The judgement that the farm's own account disputes. */
    doubted: 'pass' | 'fail' | null;
    outcome: Outcome | null;
    /** When the judgement was noted here. */
    judged_at: Date | null;
    /** Of the word that decided. */
    evidence: Digest | null;
    agreed: Generated<boolean>;
    slashed: Generated<string>;
    /** Whether it was drawn if a canary is planted beside it. */
    rolled: Generated<boolean>;
  };
  appeals: {
    batch_id: BatchId;
    seed: Bytes32;
    answered_at: Date;
    reason: string;
    /** As it travelled; null: the node does not appeal. */
    dispute: JSONColumnType<Record<string, unknown>> | null;
    /** Why the escrow took none of it. */
    refused: string | null;
  };
  verdicts: {
    seq: Generated<string>;
    batch_id: BatchId;
    seed: Bytes32;
    verifier: Address;
    verifier_id: string;
    role: VerifierRole;
    crop_digests: JSONColumnType<Digest[]>;
    /** Null until the word is given; so are evidence and signature. */
    outcome: Outcome | null;
    evidence: Digest | null;
    reason: Generated<string>;
    signature: Signature | null;
    /** Against what is known of a canary, and looked at again. */
    rechecked: Generated<boolean>;
    /** Why it is wrong, where it is. */
    caught: string | null;
    caught_at: Date | null;
  };
  tasks: {
    id: TaskId;
    job_id: JobId;
    kind: TaskKind;
    frame: number;
    position: number;
    tile: number;
    x: number;
    y: number;
    width: number;
    height: number;
    samples: number;
    price: string;
    state: TaskState;
    token: Generated<number>;
    published: Generated<boolean>;
    node_id: NodeId | null;
    lease_until: Date | null;
    leased_at: Date | null;
    progress: Generated<number>;
    losses: Generated<number>;
    batch_id: BatchId | null;
    batch_index: number | null;
    leaf: Bytes32 | null;
    receipt: JSONColumnType<StoredReceipt> | null;
    render_ms: number | null;
  };
  /** The older lease of a task that two nodes work on. */
  task_copies: {
    task_id: TaskId;
    node_id: NodeId;
    token: number;
    lease_until: Date;
    leased_at: Date;
    progress: Generated<number>;
    alone: Generated<boolean>;
  };
  task_failures: {
    task_id: TaskId;
    node_id: NodeId;
    failure_class: string;
    code: string;
    message: string;
    at: Date;
  };
  job_exclusions: {
    job_id: JobId;
    node_id: NodeId;
    reason: string;
    /** Null: a verdict. */
    set_by: string | null;
    set_at: Date | null;
  };
  task_blocks: {
    task_id: TaskId;
    node_id: NodeId;
    job_id: JobId;
    reason: string;
    set_by: string;
    set_at: Date;
  };
  events: { seq: Generated<string>; job_id: JobId; at: Date; event: JSONColumnType<FarmEvent> };
};

/** An engine of a node on one of its GPUs. */
export type NodeGpu = { engine: string; deviceClass: string; device: string };

export type FarmTables = Tables;
export type FarmDb = Kysely<Tables>;
/** A database or a transaction on it: what a query needs. */
export type FarmQuery = FarmDb | Transaction<Tables>;
