/** Everything a coordinator is made of, built by hand in main.ts; each part names what it needs of it. */
import type { BlobStore } from '../platform/blobs/blob-store.ts';
import type { FarmChain } from '../platform/chain/chain.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { TaskQueue } from '../platform/nats/task-queue.ts';
import type { RenderRuntime } from '../platform/render/runtime.ts';
import type { SceneCache } from '../platform/scenes/scene-cache.ts';
import type { CoordinatorConfig, CoordinatorSecrets } from './config.ts';
import type { FarmDb } from './database/schema.ts';
import type { EventLog } from './event-log.ts';
import type { CoordinatorMetrics } from './observing/metrics.ts';

export type CoordinatorContext = {
  config: CoordinatorConfig;
  secrets: CoordinatorSecrets;
  db: FarmDb;
  /** An embedded database, which nobody else looks after. */
  ownDatabase: boolean;
  events: EventLog;
  blobs: BlobStore;
  scenes: SceneCache;
  /** The engine that is taken where a scene does not say otherwise: the first of {@link engines}. */
  runtime: RenderRuntime;
  /** Everything this farm can inspect and check; nodes with other engines are not served. */
  engines: RenderRuntime[];
  chain: FarmChain;
  queue: TaskQueue;
  clock: Clock;
  log: Log;
  metrics: CoordinatorMetrics;
};
