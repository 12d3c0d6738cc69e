/** A Blender in its sandbox, with its scene or still without one. */
import { link, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FarmError } from '../../../protocol/errors.ts';
import type { StartedRenderer } from '../runtime.ts';
import { createExchange, type Exchange } from './exchange.ts';
import type { Guest, Launch } from './launcher.ts';
import { DEFAULT_SESSION_LIMITS, type SessionLimits } from './limits.ts';
import { Wire } from './wire.ts';

export type RendererOptions = {
  launch: Launch;
  threads: number;
  /** As in OpenOptions. */
  niceness?: number | undefined;
  /** Where the exchange folders go. Same disk as the outputs, and nothing has to be copied. */
  tempFolder?: string | undefined;
  limits?: Partial<SessionLimits> | undefined;
  /** The user inside, where it is another one than this program's. */
  guest?: Guest | undefined;
};

export class Renderer implements StartedRenderer {
  readonly wire: Wire;
  readonly exchange: Exchange;
  readonly threads: number;

  private constructor(wire: Wire, exchange: Exchange, threads: number) {
    this.wire = wire;
    this.exchange = exchange;
    this.threads = threads;
  }

  /** Starts Blender on the scene in this folder, or, for null, on an empty one that can be filled once. */
  static async start(scene: string | null, options: RendererOptions): Promise<Renderer> {
    const { launch, threads, niceness, tempFolder, guest } = options;
    const limits = { ...DEFAULT_SESSION_LIMITS, ...options.limits };
    const exchange = await createExchange(tempFolder, { maxBytes: limits.outputBytes, guest });
    const folders = { scene: scene ?? exchange.scene, input: exchange.input, output: exchange.output };
    try {
      const wire = await Wire.start(() => launch(folders, { threads, niceness }), exchange, limits);
      return new Renderer(wire, exchange, threads);
    } catch (error) {
      await exchange.remove();
      throw error;
    }
  }

  get alive(): boolean {
    return this.wire.ended === undefined;
  }

  /**
   * Lets the scene of this folder appear inside. False where hard links cannot do that (another disk, something that is
   * neither a file nor a folder): then the scene has to be there when the sandbox is made.
   */
  async takeIn(scene: string): Promise<boolean> {
    return await linkTree(scene, this.exchange.scene);
  }

  async close(): Promise<void> {
    this.wire.end('closed', 'it was closed');
    await this.wire.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The renderer that was started ahead, now with this scene; or a new one, where that one will not do. */
export async function rendererFor(
  scene: string,
  options: RendererOptions,
  started: StartedRenderer | undefined,
): Promise<Renderer> {
  if (started === undefined) return await Renderer.start(scene, options);
  if (!(started instanceof Renderer))
    throw new FarmError('INTERNAL', 'a renderer of one runtime was given to another');
  if (started.alive && started.threads === options.threads && (await started.takeIn(scene))) return started;
  await started.close();
  return await Renderer.start(scene, options);
}

async function linkTree(from: string, to: string): Promise<boolean> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) {
      await mkdir(target, { mode: 0o755 });
      if (!(await linkTree(source, target))) return false;
    } else if (entry.isFile()) {
      const linked = await link(source, target).then(
        () => true,
        () => false,
      );
      if (!linked) return false;
    } else return false;
  }
  return true;
}
