/** One task, from lease to files: fetch, wait for the renderer, render or finish, deliver. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digestFile } from '../platform/blobs/digest-file.ts';
import type { HttpBlobs } from '../platform/blobs/http-blobs.ts';
import { runtimeOf } from '../platform/render/engines.ts';
import type { RenderSession, ExtraFile as WrittenFile } from '../platform/render/runtime.ts';
import { sessionKey } from '../platform/render/session-pool.ts';
import { whileUnreachable } from '../platform/retry.ts';
import { assertNever, FarmError, isFarmError } from '../protocol/errors.ts';
import type { Digest } from '../protocol/ids.ts';
import type { LeaseGrant } from '../protocol/messages.ts';
import { deliverExtraFiles } from './extra-files.ts';
import type { Node } from './node.ts';

export type TaskResult = {
  exrDigest: Digest;
  pixelDigest: Digest;
  pictureDigest: Digest | null;
  extraFilesDigest?: Digest | undefined;
  /** The EXR stayed here ({@link Node.kept}) instead of being delivered. */
  kept: boolean;
  renderMs: number;
  peakMemoryBytes: number;
};

/** What a renderer made of a task, before any of it is delivered. */
type Rendered = {
  exrPath: string;
  picturePath: string | null;
  extraFiles: readonly WrittenFile[];
  pixelDigest: Digest;
  renderMs: number;
  peakMemoryBytes: number;
};

/** Longer than a restart of the farm takes; a task that is done is worth waiting for. */
const PATIENCE_MS = 120_000;

/** Renders or finishes what the grant says and delivers the files; nothing stays behind in the work folder. */
export async function doTask(
  grant: LeaseGrant,
  node: Node,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<TaskResult> {
  const folder = join(node.config.dataFolder, 'work', grant.taskId);
  await mkdir(folder, { recursive: true });
  try {
    const scene = await node.scenes.folderOf(grant.scene, grant.manifest, signal);
    const tiles = await fetchTiles(grant, node.blobs, folder, signal);
    const rendered = await node.turn.run(async () => {
      if (signal.aborted) throw new FarmError('INTERRUPTED', 'stopped while waiting for the renderer');
      onProgress(0);
      const runtime = runtimeOf(node.engines, grant.engine);
      const made = await node.sessions.use(
        sessionKey(runtime.engine, grant.scene),
        (stop) => runtime.open(scene, { signal: stop, threads: node.config.threads }),
        signal,
        (session) =>
          make(grant, session, tiles, folder, onProgress, signal).catch(async (error: unknown) => {
            // A renderer that was stopped or crashed takes a moment to end; the task that waits must not be given it.
            await session.close();
            throw error;
          }),
      );
      node.last = { scene: grant.scene, kind: grant.kind, renderMs: made.renderMs };
      return made;
    });
    return await handIn(grant, node, rendered, signal);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type Tile = { rect: LeaseGrant['rect']; path: string };

async function fetchTiles(
  grant: LeaseGrant,
  blobs: HttpBlobs,
  folder: string,
  signal: AbortSignal,
): Promise<Tile[]> {
  return await Promise.all(
    grant.inputs.map(async (input, index) => {
      const path = join(folder, `tile-${index}.exr`);
      await whileUnreachable(() => blobs.fetchTo(input.exr, path, signal), signal, PATIENCE_MS);
      return { rect: input.rect, path };
    }),
  );
}

async function make(
  grant: LeaseGrant,
  session: RenderSession,
  tiles: readonly Tile[],
  folder: string,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<Rendered> {
  const { kind, frame, rect, picture, samples, output, precision, timeoutMs } = grant;
  const options = {
    signal,
    timeoutMs,
    onProgress: ({ fraction }: { fraction: number }) => onProgress(fraction),
  };
  const exrOutput = join(folder, 'frame.exr');
  const pictureOutput = join(folder, 'frame.picture');
  const extraFolder = join(folder, 'extra');
  await mkdir(extraFolder);
  // An EXR that stays here, and is looked at once in a while at most, need not be small.
  const exrCodec = grant.exr ? ('zip' as const) : ('fastest' as const);
  const outputs = { output, exrOutput, pictureOutput, extraFolder, exrCodec };
  switch (kind) {
    case 'render': {
      const tile = await session.render(
        { frame, rect, samples, precision, output: join(folder, 'tile.exr') },
        options,
      );
      return { ...tile, picturePath: null, extraFiles: [] };
    }
    case 'finish': {
      const finished = await session.finish({ frame, region: rect, picture, tiles, ...outputs }, options);
      return { ...finished, renderMs: finished.finishMs, peakMemoryBytes: 0 };
    }
    case 'frame': {
      return await session.renderFrame(
        { frame, region: rect, picture, samples, precision, ...outputs },
        options,
      );
    }
    default:
      return assertNever(kind);
  }
}

/** Sending only reads here: a disk that is full is the farm's. It is waited for, and no fault of this node. */
function notOurDisk(error: unknown): never {
  if (!isFarmError(error, 'DISK_FULL')) throw error;
  throw new FarmError('FARM_UNREACHABLE', 'the farm has no room for what was rendered', { cause: error });
}

async function handIn(
  grant: LeaseGrant,
  node: Node,
  rendered: Rendered,
  signal: AbortSignal,
): Promise<TaskResult> {
  const { exrPath, picturePath, pixelDigest, renderMs, peakMemoryBytes, extraFiles } = rendered;
  const patiently = <T>(send: () => Promise<T>): Promise<T> =>
    whileUnreachable(() => send().catch(notOurDisk), signal, PATIENCE_MS);
  const put = async (path: string): Promise<Digest> =>
    (await patiently(() => node.blobs.putFile(path, signal))).digest;
  const extraFilesDigest = await deliverExtraFiles(extraFiles, {
    putFile: (path) => patiently(() => node.blobs.putFile(path, signal)),
    putBytes: (bytes) => patiently(() => node.blobs.putBytes(bytes, signal)),
  });
  const pictureDigest = picturePath === null ? null : await put(picturePath);
  const made = { pixelDigest, renderMs, peakMemoryBytes, pictureDigest, extraFilesDigest };
  if (grant.kind === 'render' || grant.exr) return { ...made, exrDigest: await put(exrPath), kept: false };
  const { digest: exrDigest } = await digestFile(exrPath);
  // A merged frame can be made again from its tiles by anybody; the pixels of a whole frame are only here.
  const kept = grant.kind === 'frame';
  if (kept) await node.kept.keep(exrDigest, exrPath);
  return { ...made, exrDigest, kept };
}
