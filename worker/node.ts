/** What a node is made of. */
import type { HttpBlobs } from '../platform/blobs/http-blobs.ts';
import type { PrivateKey } from '../platform/chain/signing.ts';
import type { Log } from '../platform/log.ts';
import type { Mutex } from '../platform/mutex.ts';
import type { Asker } from '../platform/nats/member-connection.ts';
import type { RenderRuntime } from '../platform/render/runtime.ts';
import type { SessionPool } from '../platform/render/session-pool.ts';
import type { SceneCache } from '../platform/scenes/scene-cache.ts';
import type { Digest } from '../protocol/ids.ts';
import type { TaskKind } from '../protocol/receipt.ts';
import type { WorkerConfig } from './config.ts';
import type { Deliveries } from './deliveries.ts';
import type { HeldLeases } from './held-leases.ts';
import type { KeptFiles } from './kept-files.ts';

/**
 * A node as one of its devices sees it: the CPU and every GPU take tasks of their own, side by side, and share all but
 * what stands together here.
 */
export type Node = NodeDevice & SharedNode;

/** What every device of a node has for itself. */
export type NodeDevice = {
  /** The GPU, by its name in the node's hello; undefined: the CPU. */
  device: string | undefined;
  /** What renders on this device. */
  engines: readonly RenderRuntime[];
  /** Rendering takes all of the device: one command at a time, in the order of the leases. */
  turn: Mutex;
  /** What was rendered last, and how long it took. */
  last: { scene: Digest; kind: TaskKind; renderMs: number } | null;
};

type SharedNode = {
  config: WorkerConfig;
  key: PrivateKey;
  nats: Asker;
  blobs: HttpBlobs;
  scenes: SceneCache;
  sessions: SessionPool;
  leases: HeldLeases;
  deliveries: Deliveries;
  /** EXRs of whole frames, until they are settled. */
  kept: KeptFiles;
  log: Log;
};
