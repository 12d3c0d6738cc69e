/** A render session over any launcher: carries files in and out, one command at a time. */
import { join } from 'node:path';
import { FarmError, isFarmError } from '../../../protocol/errors.ts';
import type { ReportedDevice } from '../device-choice.ts';
import type {
  CommandOptions,
  DecodedPixels,
  EngineInfo,
  ExtraFile,
  FinishCommand,
  FinishedFrame,
  FrameCommand,
  OpenOptions,
  PixelsOfFile,
  PreviewCommand,
  PreviewPicture,
  ReadPixelsCommand,
  RenderCommand,
  RenderedFrame,
  RenderedTile,
  RenderSession,
  SceneFolder,
  SceneInspection,
  SessionEnd,
  StartedRenderer,
} from '../runtime.ts';
import { requireSampleOffset } from '../sample-range.ts';
import type { Exchange } from './exchange.ts';
import { requirePlainNames } from './extra-names.ts';
import { INSIDE } from './launcher.ts';
import { deviceArgument, onDevice } from './on-device.ts';
import { Renderer, type RendererOptions, rendererFor } from './renderer.ts';
import {
  decodedSchema,
  devicesSchema,
  digestedSchema,
  finishedSchema,
  inspectionSchema,
  openedSchema,
  previewedSchema,
  renderedFrameSchema,
  renderedSchema,
} from './replies.ts';
import { sampleProgress } from './sample-progress.ts';
import type { Wire } from './wire.ts';

/** A cold disk and a scene of some GB; a small scene takes one second. */
const DEFAULT_LOAD_TIMEOUT_MS = 300_000;
/** Noise that does not show at the size of a thumbnail. */
const PREVIEW_SAMPLES = 16;

export type SessionOptions = OpenOptions & RendererOptions & { engine: EngineInfo };

/** Names the host's file where the renderer complains about its own name for it. */
function withHostPaths<E>(error: E, hostPaths: ReadonlyMap<string, string>): E | FarmError {
  if (!isFarmError(error)) return error;
  const inside = error.details?.['exr'];
  const path = typeof inside === 'string' ? hostPaths.get(inside) : undefined;
  if (path === undefined) return error;
  const details = { ...error.details, exr: path };
  return new FarmError(error.code, error.message, { details, cause: error });
}

class BlenderSession implements RenderSession {
  readonly engine: EngineInfo;
  readonly #wire: Wire;
  readonly #exchange: Exchange;
  readonly #viewLayers: readonly string[];
  #turn: Promise<unknown> = Promise.resolve();

  constructor(engine: EngineInfo, wire: Wire, exchange: Exchange, viewLayers: readonly string[]) {
    this.engine = engine;
    this.#viewLayers = viewLayers;
    this.#wire = wire;
    this.#exchange = exchange;
  }

  get closed(): Promise<SessionEnd> {
    return this.#wire.closed;
  }

  get memoryBytes(): number | undefined {
    return this.#wire.memoryBytes;
  }

  inspect(options: CommandOptions): Promise<SceneInspection> {
    return this.#inTurn(options, () => this.#wire.command('inspect', {}, inspectionSchema, options));
  }

  devices(options: CommandOptions): Promise<ReportedDevice[]> {
    return this.#inTurn(options, async () => {
      const { devices } = await this.#wire.command('devices', {}, devicesSchema, options);
      return devices;
    });
  }

  render(command: RenderCommand, options: CommandOptions): Promise<RenderedTile> {
    return this.#inTurn(options, async () => {
      const { frame, rect, samples, sampleOffset = 0, precision = 'float' } = command;
      requireSampleOffset(sampleOffset);
      const output = this.#exchange.outputPath('.exr');
      return await this.#withFiles([output], async () => {
        const parameters = { frame, rect, samples: samples ?? null, sampleOffset, precision, output };
        const result = await this.#whileRendering(options, () =>
          this.#wire.command('render', parameters, renderedSchema, options),
        );
        await this.#exchange.takeOut(output, command.output);
        return { exrPath: command.output, ...result };
      });
    });
  }

  preview(command: PreviewCommand, options: CommandOptions): Promise<PreviewPicture> {
    return this.#inTurn(options, async () => {
      const { frame, longSide, samples } = command;
      const output = this.#exchange.outputPath('.png');
      return await this.#withFiles([output], async () => {
        const parameters = { frame, longSide, samples: samples ?? PREVIEW_SAMPLES, output };
        const result = await this.#whileRendering(options, () =>
          this.#wire.command('preview', parameters, previewedSchema, options),
        );
        await this.#exchange.takeOut(output, command.output);
        return { picturePath: command.output, ...result };
      });
    });
  }

  finish(command: FinishCommand, options: CommandOptions): Promise<FinishedFrame> {
    return this.#inTurn(options, async () => {
      const hostPaths = new Map<string, string>();
      return await this.#withFrameFiles(command, async (parameters, used) => {
        const tiles: { rect: unknown; path: string }[] = [];
        for (const { rect, path } of command.tiles) {
          const inside = await this.#exchange.handIn(path);
          used.push(inside);
          hostPaths.set(inside, path);
          tiles.push({ rect, path: inside });
        }
        return await this.#wire
          .command(
            'finish',
            { ...parameters, tiles, exrCodec: command.exrCodec ?? 'zip' },
            finishedSchema,
            options,
          )
          .catch((error: unknown) => {
            throw withHostPaths(error, hostPaths);
          });
      });
    });
  }

  renderFrame(command: FrameCommand, options: CommandOptions): Promise<RenderedFrame> {
    return this.#inTurn(options, () =>
      this.#withFrameFiles(command, async (parameters) => {
        const { samples = null, precision = 'float', exrCodec = 'zip' } = command;
        return await this.#whileRendering(options, () =>
          this.#wire.command(
            'frame',
            { ...parameters, samples, precision, exrCodec },
            renderedFrameSchema,
            options,
          ),
        );
      }),
    );
  }

  readPixels(command: ReadPixelsCommand, options: CommandOptions): Promise<DecodedPixels> {
    return this.#inTurn(options, async () => {
      const output = this.#exchange.outputPath('.raw');
      return await this.#withFiles([output], async (used) => {
        const exr = await this.#exchange.handIn(command.exr);
        used.push(exr);
        const result = await this.#wire
          .command('readPixels', { exr, crop: command.crop ?? null, output }, decodedSchema, options)
          .catch((error: unknown) => {
            throw withHostPaths(error, new Map([[exr, command.exr]]));
          });
        await this.#exchange.takeOut(output, command.output);
        return { rawPath: command.output, ...result };
      });
    });
  }

  digestPixels(exrs: readonly string[], options: CommandOptions): Promise<(PixelsOfFile | FarmError)[]> {
    return this.#inTurn(options, () =>
      this.#withFiles([], async (used) => {
        for (const path of exrs) used.push(await this.#exchange.handIn(path));
        const hostPaths = new Map(used.map((inside, index) => [inside, exrs[index] as string]));
        const { files } = await this.#wire.command(
          'digestPixels',
          { exrs: [...used] },
          digestedSchema(exrs.length),
          options,
        );
        return files.map((file) => {
          if (!file.ok) {
            const { code, message, details } = file;
            return withHostPaths(new FarmError(code, message, { details }), hostPaths);
          }
          const { ok: _ok, ...pixels } = file;
          return pixels;
        });
      }),
    );
  }

  async close(): Promise<void> {
    this.#wire.end('closed', 'it was closed');
    await this.#wire.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Passes on the progress that Blender prints; on a GPU, makes sure that it was rendered there. */
  async #whileRendering<T>({ onProgress }: CommandOptions, work: () => Promise<T>): Promise<T> {
    const onLine = onProgress && sampleProgress(this.#viewLayers, onProgress);
    const { device } = this.engine;
    if (device === undefined) return await this.#wire.whileListening(onLine, work);
    return await onDevice(device.type, this.#wire, onLine, work);
  }

  /** One command at a time, in the order of the calls. A call that is aborted while it waits costs nothing. */
  #inTurn<T>(options: CommandOptions, work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(() => {
      if (options.signal.aborted) throw new FarmError('INTERRUPTED', 'stopped before it began');
      return work();
    });
    this.#turn = mine.catch(() => {});
    return mine;
  }

  /** Gives `work` the arguments that both ways to a finished frame share, and brings out the files it made. */
  async #withFrameFiles<T extends { extraFiles: readonly { name: string }[] }>(
    command: FinishCommand | FrameCommand,
    work: (parameters: Record<string, unknown>, used: string[]) => Promise<T>,
  ): Promise<T & { exrPath: string; picturePath: string; extraFiles: ExtraFile[] }> {
    const exrOutput = this.#exchange.outputPath('.exr');
    const pictureOutput = this.#exchange.outputPath('.picture');
    const prefix = this.#exchange.outputPath('.extra');
    const { frame, region, picture = null, output = { format: 'png' }, extraFolder } = command;
    const extraPrefix = extraFolder === undefined ? null : prefix;
    const parameters = { frame, region, picture, output, exrOutput, pictureOutput, extraPrefix };
    return await this.#withFiles([exrOutput, pictureOutput], async (used) => {
      const result = await work(parameters, used);
      const extraFiles: ExtraFile[] = [];
      if (extraFolder !== undefined) {
        // By number, never by the path that the sandbox names.
        const inside = result.extraFiles.map((_, index) => `${prefix}-${index}`);
        used.push(...inside);
        requirePlainNames(result.extraFiles.map(({ name }) => name));
        for (const [index, { name }] of result.extraFiles.entries()) {
          const path = join(extraFolder, String(index));
          await this.#exchange.takeOut(inside[index] as string, path);
          extraFiles.push({ name, path });
        }
      }
      await this.#exchange.takeOut(exrOutput, command.exrOutput);
      await this.#exchange.takeOut(pictureOutput, command.pictureOutput);
      return { ...result, exrPath: command.exrOutput, picturePath: command.pictureOutput, extraFiles };
    });
  }

  async #withFiles<T>(paths: readonly string[], work: (used: string[]) => Promise<T>): Promise<T> {
    const used = [...paths];
    try {
      return await work(used);
    } finally {
      await this.#exchange.discard(used);
    }
  }
}

/** What the opening fails with: a scene that breaks Blender down, or keeps it busy, while it is loaded is at fault. */
function openingError(error: unknown, wire: Wire, loading: boolean): unknown {
  if (!isFarmError(error)) return error;
  if (loading && error.code === 'RENDER_TIMEOUT') {
    return new FarmError('SCENE_LOAD_TIMEOUT', `the scene was not loaded in time: ${error.message}`, {
      cause: error,
    });
  }
  if (error.code !== 'RENDER_FAILED' || wire.ended?.reason !== 'crashed') return error;
  // Killed from outside, most likely by the kernel: that says nothing about the file.
  if (loading && !error.message.includes('SIGKILL')) {
    return new FarmError('SCENE_UNREADABLE', `over the scene, while it was loaded: ${error.message}`, {
      cause: error,
    });
  }
  const words = wire.lastWords;
  if (!words.includes('bwrap:')) return error;
  return new FarmError('SANDBOX_NOT_FOUND', `bubblewrap cannot make a sandbox here: ${words}`, {
    cause: error,
  });
}

/** Starts Blender, or takes the one that was started, loads the scene, gives the session. Leaves nothing behind when that fails. */
export async function openSession(scene: SceneFolder, options: SessionOptions): Promise<RenderSession> {
  const { signal, threads, engine, started, loadTimeoutMs = DEFAULT_LOAD_TIMEOUT_MS } = options;
  if (signal.aborted) {
    await started?.close();
    throw new FarmError('INTERRUPTED', 'stopped before it began');
  }
  const { wire, exchange } = await rendererFor(scene.root, options, started);
  const until = Date.now() + loadTimeoutMs;
  let loading = false;
  let viewLayers: readonly string[];
  try {
    await wire.ready({ signal, timeoutMs: loadTimeoutMs });
    loading = true;
    const path = join(INSIDE.scene, scene.main);
    const device = deviceArgument(engine.device);
    const parameters = { path, name: scene.main, root: INSIDE.scene, threads, device };
    const timeoutMs = Math.max(1, until - Date.now());
    ({ viewLayers } = await wire.command('open', parameters, openedSchema, { signal, timeoutMs }));
  } catch (error) {
    wire.end('closed', 'the scene was not opened');
    await wire.closed;
    throw openingError(error, wire, loading);
  }
  return new BlenderSession(engine, wire, exchange, viewLayers);
}

/** Starts Blender for a scene that is not known yet, and waits until it is ready for one. */
export async function startRenderer(
  options: RendererOptions & { signal: AbortSignal },
): Promise<StartedRenderer> {
  const renderer = await Renderer.start(null, options);
  try {
    await renderer.wire.ready({ signal: options.signal, timeoutMs: DEFAULT_LOAD_TIMEOUT_MS });
    return renderer;
  } catch (error) {
    await renderer.close();
    throw openingError(error, renderer.wire, false);
  }
}
