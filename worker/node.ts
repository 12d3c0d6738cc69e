/** What a node is made of. */
import type { NatsConnection } from 'nats';
import type { HttpBlobs } from '../platform/blobs/http-blobs.ts';
import type { PrivateKey } from '../platform/chain/signing.ts';
import type { Log } from '../platform/log.ts';
import type { RenderRuntime } from '../platform/render/runtime.ts';
import type { WarmSession } from '../platform/render/warm-session.ts';
import type { SceneCache } from '../platform/scenes/scene-cache.ts';
import type { WorkerConfig } from './config.ts';
import type { ReceiptJournal } from './receipt-journal.ts';

/** For questions that the coordinator answers at once. */
export const REQUEST_TIMEOUT_MS = 10_000;

export type Node = {
  config: WorkerConfig;
  key: PrivateKey;
  nats: NatsConnection;
  blobs: HttpBlobs;
  scenes: SceneCache;
  engines: readonly RenderRuntime[];
  session: WarmSession;
  journal: ReceiptJournal;
  log: Log;
};
