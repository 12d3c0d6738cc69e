/** Scenes: stored by digest, inspected once in the sandbox, and only then accepted. */

import { Mutex } from '../../platform/mutex.ts';
import { MAX_MESSAGE_BYTES } from '../../platform/nats/connection.ts';
import type { SceneInspection } from '../../platform/render/runtime.ts';
import { sceneDigest } from '../../platform/scenes/manifest.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { SceneReply } from '../../protocol/http.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import type { CoordinatorContext } from '../context.ts';
import { missingFiles, requireRenderable, summaryOf } from './judge-inspection.ts';

/** A scene that takes longer to load than this is broken or hostile: the largest production files load in a minute. */
const LOAD_TIMEOUT_MS = 180_000;

export type KnownScene = { manifest: SceneManifest; inspection: SceneInspection };

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
    const inspection = await this.#inspecting.run(() => this.#inspect(digest, manifest, signal));
    const missing = missingFiles(inspection);
    if (missing.length > 0) return { scene: digest, summary: null, missing };
    requireRenderable(inspection);
    await this.#context.db
      .insertInto('scenes')
      .values({ digest, manifest: JSON.stringify(manifest), inspection: JSON.stringify(inspection) })
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
    return row === undefined ? null : { manifest: row.manifest, inspection: row.inspection };
  }

  async #requireFiles(manifest: SceneManifest): Promise<void> {
    for (const file of manifest.files) {
      const size = await this.#context.blobs.size(file.digest);
      if (size === null) throw new FarmError('NOT_FOUND', `the bytes of ${file.path} were not uploaded`);
      if (size !== file.sizeBytes)
        throw new FarmError('BLOB_MISMATCH', `${file.path} has ${size} bytes, not ${file.sizeBytes}`);
    }
  }

  async #inspect(digest: Digest, manifest: SceneManifest, signal: AbortSignal): Promise<SceneInspection> {
    const { runtime, scenes, config } = this.#context;
    const folder = await scenes.folderOf(digest, manifest, signal);
    await using session = await runtime.open(folder, {
      signal,
      threads: config.threads,
      loadTimeoutMs: LOAD_TIMEOUT_MS,
    });
    return await session.inspect({ signal, timeoutMs: LOAD_TIMEOUT_MS });
  }
}
