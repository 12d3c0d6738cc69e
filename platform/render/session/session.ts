/** A render session over any launcher: carries files in and out, one command at a time. */
import { join } from 'node:path';
import { FarmError, isFarmError } from '../../../protocol/errors.ts';
import type { ReportedDevice } from '../device-choice.ts';
import type {
  CommandOptions,
  DecodedPixels,
  EngineInfo,
  FinishCommand,
  FinishedFrame,
  OpenOptions,
  ReadPixelsCommand,
  RenderCommand,
  RenderedTile,
  RenderSession,
  SceneFolder,
  SceneInspection,
  SessionEnd,
} from '../runtime.ts';
import { createExchange, type Exchange } from './exchange.ts';
import { type Guest, INSIDE, type Launch } from './launcher.ts';
import {
  decodedSchema,
  devicesSchema,
  finishedSchema,
  inspectionSchema,
  openedSchema,
  renderedSchema,
} from './replies.ts';
import { sampleProgress } from './sample-progress.ts';
import { Wire } from './wire.ts';

/** A cold disk and a scene of some GB; a small scene takes one second. */
const DEFAULT_LOAD_TIMEOUT_MS = 300_000;

export type SessionOptions = OpenOptions & {
  engine: EngineInfo;
  launch: Launch;
  /** Where the exchange folders go. Same disk as the outputs, and nothing has to be copied. */
  tempFolder?: string;
  /** The user inside, where it is another one than this program's. */
  guest?: Guest | undefined;
};

/** Names the host's file where the renderer complains about its own name for it. */
function withHostPaths(error: unknown, hostPaths: ReadonlyMap<string, string>): unknown {
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
      const { frame, rect, samples } = command;
      const output = this.#exchange.outputPath('.exr');
      return await this.#withFiles([output], async () => {
        const { onProgress } = options;
        const onLine = onProgress && sampleProgress(this.#viewLayers, onProgress);
        const parameters = { frame, rect, samples: samples ?? null, output };
        const result = await this.#wire.whileListening(onLine, () =>
          this.#wire.command('render', parameters, renderedSchema, options),
        );
        await this.#exchange.takeOut(output, command.output);
        return { exrPath: command.output, ...result };
      });
    });
  }

  finish(command: FinishCommand, options: CommandOptions): Promise<FinishedFrame> {
    return this.#inTurn(options, async () => {
      const exrOutput = this.#exchange.outputPath('.exr');
      const pictureOutput = this.#exchange.outputPath('.png');
      const hostPaths = new Map<string, string>();
      return await this.#withFiles([exrOutput, pictureOutput], async (used) => {
        const tiles: { rect: unknown; path: string }[] = [];
        for (const { rect, path } of command.tiles) {
          const inside = await this.#exchange.handIn(path);
          used.push(inside);
          hostPaths.set(inside, path);
          tiles.push({ rect, path: inside });
        }
        const { frame, region, picture } = command;
        const parameters = { frame, region, picture: picture ?? null, tiles, exrOutput, pictureOutput };
        const result = await this.#wire
          .command('finish', parameters, finishedSchema, options)
          .catch((error: unknown) => {
            throw withHostPaths(error, hostPaths);
          });
        await this.#exchange.takeOut(exrOutput, command.exrOutput);
        await this.#exchange.takeOut(pictureOutput, command.pictureOutput);
        return { exrPath: command.exrOutput, picturePath: command.pictureOutput, ...result };
      });
    });
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

  async close(): Promise<void> {
    this.#wire.end('closed', 'it was closed');
    await this.#wire.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
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

  async #withFiles<T>(paths: readonly string[], work: (used: string[]) => Promise<T>): Promise<T> {
    const used = [...paths];
    try {
      return await work(used);
    } finally {
      await this.#exchange.discard(used);
    }
  }
}

/** A crash while the scene is loaded is the scene's fault; before that it is the sandbox's. */
function openingError(error: unknown, wire: Wire, loading: boolean): unknown {
  if (!isFarmError(error, 'RENDER_FAILED') || wire.ended?.reason !== 'crashed') return error;
  if (loading) {
    return new FarmError('SCENE_UNREADABLE', `Blender broke down over the scene: ${error.message}`, {
      cause: error,
    });
  }
  const words = wire.lastWords;
  if (!words.includes('bwrap:')) return error;
  return new FarmError('SANDBOX_NOT_FOUND', `bubblewrap cannot make a sandbox here: ${words}`, {
    cause: error,
  });
}

/** Starts Blender, loads the scene, gives the session. Leaves nothing behind when that fails. */
export async function openSession(scene: SceneFolder, options: SessionOptions): Promise<RenderSession> {
  const { signal, threads, engine, launch, loadTimeoutMs = DEFAULT_LOAD_TIMEOUT_MS } = options;
  if (signal.aborted) throw new FarmError('INTERRUPTED', 'stopped before it began');
  const exchange = await createExchange(options.tempFolder, options.guest);
  const folders = { scene: scene.root, input: exchange.input, output: exchange.output };
  let wire: Wire;
  try {
    wire = await Wire.start(() => launch(folders, { threads }), exchange);
  } catch (error) {
    await exchange.remove();
    throw error;
  }
  const until = Date.now() + loadTimeoutMs;
  let loading = false;
  let viewLayers: readonly string[];
  try {
    await wire.ready({ signal, timeoutMs: loadTimeoutMs });
    loading = true;
    const path = join(INSIDE.scene, scene.main);
    const parameters = { path, name: scene.main, root: INSIDE.scene, threads };
    const timeoutMs = Math.max(1, until - Date.now());
    ({ viewLayers } = await wire.command('open', parameters, openedSchema, { signal, timeoutMs }));
  } catch (error) {
    wire.end('closed', 'the scene was not opened');
    await wire.closed;
    throw openingError(error, wire, loading);
  }
  return new BlenderSession(engine, wire, exchange, viewLayers);
}
