/** Scenes: stored by digest, inspected once in the sandbox, and only then accepted. */

import { join } from 'node:path';
import { Mutex } from '../../platform/mutex.ts';
import { MAX_MESSAGE_BYTES } from '../../platform/nats/connection.ts';
import { readSavedWith, type SavedWith } from '../../platform/render/blend-header.ts';
import { chooseEngine, isOlder } from '../../platform/render/choose-engine.ts';
import { enginesForDevice, type WantedDevice } from '../../platform/render/device-choice.ts';
import { runtimeOf } from '../../platform/render/engines.ts';
import type { EngineInfo, SceneInspection } from '../../platform/render/runtime.ts';
import { sceneDigest } from '../../platform/scenes/manifest.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { SceneReply } from '../../protocol/http.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import type { CoordinatorContext } from '../context.ts';
import { offeredGpus } from '../scheduling/nodes.ts';
import { missingFiles, requireRenderable, summaryOf } from './judge-inspection.ts';

/** A scene that takes longer to load than this is broken or hostile: the largest production files load in a minute. */
const LOAD_TIMEOUT_MS = 180_000;

export type KnownScene = {
  manifest: SceneManifest;
  inspection: SceneInspection;
  /** The engine that inspected it; null for scenes of farms that had only one. */
  engine: string | null;
  savedWith: SavedWith | null;
};

/** What a job is planned with. */
type ChosenEngine = { engine: EngineInfo; inspection: SceneInspection; warnings: string[] };

export class Scenes {
  readonly #context: CoordinatorContext;
  // One inspection at a time: each is a Blender, and this machine may render as well.
  readonly #inspecting = new Mutex();

  constructor(context: CoordinatorContext) {
    this.#context = context;
  }

  /**
   * Takes a scene whose files are all stored. Answers with the files that the scene refers to and that are not listed
   * (the client sends them and asks again), or keeps the scene. Throws what stands in the way of rendering it.
   */
  async submit(manifest: SceneManifest, signal: AbortSignal): Promise<SceneReply> {
    if (Buffer.byteLength(JSON.stringify(manifest)) > MAX_MESSAGE_BYTES / 2) {
      throw new FarmError(
        'TOO_LARGE',
        `the list of the scene's ${manifest.files.length} files is too long to be sent with a task`,
        {
          kept: 'nothing was submitted',
        },
      );
    }
    const digest = sceneDigest(manifest);
    const known = await this.find(digest);
    if (known !== null) return { scene: digest, summary: summaryOf(known.inspection), missing: [] };
    await this.#requireFiles(manifest);
    const { inspection, engine, savedWith } = await this.#inspectWithNearest(digest, manifest, signal);
    const missing = missingFiles(inspection);
    if (missing.length > 0) return { scene: digest, summary: null, missing };
    requireRenderable(inspection);
    await this.#context.db
      .insertInto('scenes')
      .values({
        digest,
        manifest: JSON.stringify(manifest),
        inspection: JSON.stringify(inspection),
        engine: engine.id,
        saved_with: savedWith && JSON.stringify(savedWith),
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    return { scene: digest, summary: summaryOf(inspection), missing: [] };
  }

  async find(digest: Digest): Promise<KnownScene | null> {
    const row = await this.#context.db
      .selectFrom('scenes')
      .selectAll()
      .where('digest', '=', digest)
      .executeTakeFirst();
    return row === undefined
      ? null
      : {
          manifest: row.manifest,
          inspection: row.inspection,
          engine: row.engine,
          savedWith: row.saved_with,
        };
  }

  /**
   * The engine for a job and what that engine says about the scene: another Blender may find it different. Throws
   * ENGINE_NOT_FOUND, GPU_NOT_FOUND, or what stands in the way of rendering it there.
   */
  async forJob(
    digest: Digest,
    scene: KnownScene,
    wanted: { engine: string; device: WantedDevice },
    signal: AbortSignal,
  ): Promise<ChosenEngine> {
    const { savedWith } = scene;
    const engines = enginesForDevice(this.#engines(), wanted.device, await offeredGpus(this.#context));
    const engine = chooseEngine(savedWith, engines, wanted.engine);
    const warnings =
      savedWith !== null && isOlder(engine, savedWith)
        ? [
            `The scene was saved by Blender ${savedWith.major}.${savedWith.minor}; the engine that was asked for is older (${engine.version}) and may not understand all of it.`,
          ]
        : [];
    if (scene.engine === null || scene.engine === engine.id) {
      return { engine, inspection: scene.inspection, warnings };
    }
    const inspection = await this.#inspect(digest, scene.manifest, engine, signal);
    requireRenderable(inspection);
    return { engine, inspection, warnings };
  }

  /** Also those on GPUs: a scene is the same on all of them. */
  #engines(): EngineInfo[] {
    return this.#context.engines.map((runtime) => runtime.engine);
  }

  /**
   * Inspects with the nearest engine that can open the scene. Where the header does not say which that is (zstd), the
   * newest opens it first and tells what saved it.
   */
  async #inspectWithNearest(digest: Digest, manifest: SceneManifest, signal: AbortSignal) {
    const engines = this.#engines();
    const folder = await this.#context.scenes.folderOf(digest, manifest, signal);
    const header = await readSavedWith(join(folder.root, folder.main));
    const first = chooseEngine(header, engines, 'auto');
    const inspection = await this.#inspect(digest, manifest, first, signal);
    const savedWith = header ?? inspection.savedWith ?? null;
    const engine = chooseEngine(savedWith, engines, 'auto');
    if (engine.id === first.id) return { engine, savedWith, inspection };
    return { engine, savedWith, inspection: await this.#inspect(digest, manifest, engine, signal) };
  }

  async #requireFiles(manifest: SceneManifest): Promise<void> {
    for (const file of manifest.files) {
      const size = await this.#context.blobs.size(file.digest);
      if (size === null) throw new FarmError('NOT_FOUND', `the bytes of ${file.path} were not uploaded`);
      if (size !== file.sizeBytes)
        throw new FarmError('BLOB_MISMATCH', `${file.path} has ${size} bytes, not ${file.sizeBytes}`);
    }
  }

  async #inspect(
    digest: Digest,
    manifest: SceneManifest,
    engine: EngineInfo,
    signal: AbortSignal,
  ): Promise<SceneInspection> {
    const { engines, scenes, config } = this.#context;
    const runtime = runtimeOf(engines, engine.id);
    return await this.#inspecting.run(async () => {
      const folder = await scenes.folderOf(digest, manifest, signal);
      await using session = await runtime.open(folder, {
        signal,
        threads: config.threads,
        loadTimeoutMs: LOAD_TIMEOUT_MS,
      });
      return await session.inspect({ signal, timeoutMs: LOAD_TIMEOUT_MS });
    });
  }
}
