/**
 * One renderer and the conversation with it. States: starting (until hello) -> ready <-> busy -> ended. Only
 * {@link Wire.end} ends it, whatever the cause, and the first cause is the one that is reported.
 */
import type { z } from 'zod';
import { FarmError } from '../../../protocol/errors.ts';
import type { CommandOptions, RenderProgress, SessionEnd } from '../runtime.ts';
import { type Channel, listen } from './channel.ts';
import type { Exchange } from './exchange.ts';
import type { Exit, Launched } from './launcher.ts';
import { helloSchema, replySchema } from './replies.ts';

type Pending = {
  id: number;
  resolve: (result: unknown) => void;
  reject: (error: FarmError) => void;
  onProgress: ((progress: RenderProgress) => void) | undefined;
};

/** How long a renderer that was told to end may take to do so by itself before it is killed. It has nothing to save. */
const GRACE_MS = 500;

function exitText(exit: Exit, launched: Launched): string {
  if (exit.outOfMemory)
    return 'Blender was ended because the scene needs more memory than this node gives it';
  const how = exit.signal === null ? `ended with code ${exit.code}` : `was ended by ${exit.signal}`;
  const words = launched.output.lastWords();
  return words === '' ? `Blender ${how}` : `Blender ${how}: ${words}`;
}

export class Wire {
  readonly closed: Promise<SessionEnd>;
  readonly #launched: Launched;
  readonly #ready: Promise<void>;
  #channel: Channel | undefined;
  #pending: Pending | undefined;
  #end: SessionEnd | undefined;
  #details: { cause: 'memory' } | undefined;
  #counter = 0;
  #settleReady: { resolve: () => void; reject: (error: FarmError) => void };
  #listener: { close(): void };

  private constructor(launch: () => Launched, exchange: Exchange, listener: { close(): void }) {
    this.#listener = listener;
    this.#settleReady = { resolve: () => {}, reject: () => {} };
    this.#ready = new Promise<void>((resolve, reject) => {
      this.#settleReady = { resolve, reject };
    });
    // Whoever waits gets the rejection; where nobody waits it is not an unhandled one.
    this.#ready.catch(() => {});
    this.#launched = launch();
    this.closed = this.#launched.exited.then(async (exit) => {
      if (exit.outOfMemory) this.#details = { cause: 'memory' };
      this.end('crashed', exitText(exit, this.#launched));
      this.#listener.close();
      await exchange.remove();
      return this.#end ?? { reason: 'crashed', message: 'Blender ended' };
    });
  }

  /** Starts listening, then the renderer. */
  static async start(launch: () => Launched, exchange: Exchange): Promise<Wire> {
    let wire: Wire | undefined;
    const listener = await listen(exchange.socketPath, {
      onOpen: (channel) => wire?.onOpen(channel),
      onMessage: (message) => wire?.onMessage(message),
      onClose: (why) => wire?.onHangUp(why),
    });
    await exchange.openSocket();
    wire = new Wire(launch, exchange, listener);
    return wire;
  }

  get ended(): SessionEnd | undefined {
    return this.#end;
  }

  /** Passes on the lines that the renderer prints while `work` lasts. */
  async whileListening<T>(onLine: ((line: string) => void) | undefined, work: () => Promise<T>): Promise<T> {
    this.#launched.output.onLine = onLine;
    try {
      return await work();
    } finally {
      this.#launched.output.onLine = undefined;
    }
  }

  /** The renderer's own words, for error reports. */
  get lastWords(): string {
    return this.#launched.output.lastWords();
  }

  /** Ends the renderer; the pending command fails with the matching error. Later calls change nothing. */
  end(reason: SessionEnd['reason'], message: string): void {
    if (this.#end !== undefined) return;
    this.#end = { reason, message };
    const error = this.#errorOfEnd();
    this.#settleReady.reject(error);
    this.#pending?.reject(error);
    this.#pending = undefined;
    this.#channel?.close();
    this.#launched.kill();
  }

  /** Resolves when the renderer has said hello. */
  async ready(options: CommandOptions): Promise<void> {
    await this.#guarded(this.#ready, options);
  }

  /** Sends one command and waits for its answer. The caller sees to it that there is one at a time. */
  async command<T>(
    name: string,
    parameters: Record<string, unknown>,
    schema: z.ZodType<T>,
    options: CommandOptions,
  ): Promise<T> {
    if (this.#end !== undefined) throw this.#errorOfEnd();
    this.#counter += 1;
    const id = this.#counter;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending = { id, resolve, reject, onProgress: options.onProgress };
    });
    this.#channel?.send({ id, command: name, arguments: parameters });
    const parsed = schema.safeParse(await this.#guarded(answer, options));
    if (parsed.success) return parsed.data;
    this.end('crashed', `the renderer gave an answer to ${name} that is none`);
    throw new FarmError('RENDER_FAILED', `the renderer gave an answer to ${name} that is none`, {
      cause: parsed.error,
    });
  }

  async #guarded<T>(work: Promise<T>, { signal, timeoutMs }: CommandOptions): Promise<T> {
    const abort = () => this.end('aborted', 'stopped on request');
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => this.end('timeout', `not done after ${timeoutMs} ms`), timeoutMs);
    try {
      return await work;
    } finally {
      signal.removeEventListener('abort', abort);
      clearTimeout(timer);
    }
  }

  #errorOfEnd(): FarmError {
    const { reason, message } = this.#end ?? { reason: 'crashed', message: 'Blender ended' };
    if (reason === 'timeout') return new FarmError('RENDER_TIMEOUT', `Blender was stopped: ${message}`);
    if (reason === 'crashed')
      return new FarmError('RENDER_FAILED', message, this.#details && { details: this.#details });
    return new FarmError('INTERRUPTED', `the render session was ended: ${message}`);
  }

  onOpen(channel: Channel): void {
    this.#channel = channel;
  }

  onHangUp(why: string): void {
    // The exit that follows has the better words; a renderer that hung up and stays is ended.
    setTimeout(() => this.end('crashed', why), GRACE_MS).unref();
  }

  onMessage(message: unknown): void {
    const hello = helloSchema.safeParse(message);
    if (hello.success) {
      if (hello.data.hello) this.#settleReady.resolve();
      else this.#settleReady.reject(new FarmError(hello.data.code, hello.data.message));
      return;
    }
    const reply = replySchema.safeParse(message);
    if (!reply.success) {
      this.end('crashed', 'the renderer sent a message that is none');
      return;
    }
    const pending = this.#pending;
    if (pending === undefined || reply.data.id !== pending.id) return;
    if ('progress' in reply.data) {
      pending.onProgress?.(reply.data.progress);
      return;
    }
    this.#pending = undefined;
    if (reply.data.ok) pending.resolve(reply.data.result);
    else pending.reject(new FarmError(reply.data.code, reply.data.message, { details: reply.data.details }));
  }
}
