/** This machine's renderers and the scene that is to be looked at, for whoever checks a farm from outside. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import type { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import type { VerifyTools } from '../../platform/checking/tools.ts';
import { findEngines } from '../../platform/render/engines.ts';
import type { RenderRuntime, RenderSession, SceneFolder } from '../../platform/render/runtime.ts';
import { SceneCache } from '../../platform/scenes/scene-cache.ts';
import type { Digest } from '../../protocol/ids.ts';
import { runtimeChoice } from '../farm/runtime-choice.ts';
import type { FarmClient } from '../farm-client.ts';
import type { Terminal } from '../terminal.ts';

export type Means = { client: FarmClient; blobs: HttpBlobs; folder: string };

export async function ownRuntimes(folder: string, terminal: Terminal): Promise<RenderRuntime[]> {
  const { signal, environment } = terminal;
  return await findEngines({
    ...{ signal, choice: runtimeChoice(environment), tempFolder: folder, gpus: true },
    blenderPath: environment['TESSERA_BLENDER'],
    onNote: (note) => terminal.say(note),
  });
}

/** The scene's files, each checked against its digest and the list of them against the scene's. */
export async function fetchScene(
  scene: Digest,
  { client, blobs, folder }: Means,
  signal: AbortSignal,
): Promise<SceneFolder> {
  const manifest = await client.scene(scene, signal);
  const scenes = await SceneCache.open(join(folder, 'scenes'), (digest, path, stop) =>
    blobs.fetchTo(digest, path, stop),
  );
  return await scenes.folderOf(scene, manifest, signal);
}

export function openSession(
  runtime: RenderRuntime,
  scene: SceneFolder,
  signal: AbortSignal,
): Promise<RenderSession> {
  return runtime.open(scene, { signal, threads: availableParallelism() });
}

/** As a verifier has them, but that nothing is left at somebody else's farm. */
export function toolsFor(
  session: RenderSession,
  name: string,
  { blobs, folder }: Means,
  signal: AbortSignal,
): VerifyTools {
  return {
    ...{ session, signal, folder: join(folder, name) },
    blobs: {
      fetchTo: (digest, path, stop, maxBytes) => blobs.fetchTo(digest, path, stop, maxBytes),
      putBytes: async (bytes) => digestBytes(bytes),
    },
  };
}
