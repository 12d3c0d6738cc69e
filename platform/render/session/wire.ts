/**
 * One renderer and the conversation with it. States: starting (until hello) -> ready <-> busy -> ended. Only
 * {@link Wire.end} ends it, whatever the cause, and the first cause is the one that is reported.
 */
import type { z } from 'zod';
import { type ErrorCode, FarmError } from '../../../protocol/errors.ts';
import type { CommandOptions, RenderProgress, SessionEnd } from '../runtime.ts';
import { causeOfExit, causeOfWords, saysAllocationRefused } from './cause.ts';
import { type Channel, listen } from './channel.ts';
import type { Exchange } from './exchange.ts';
import type { Launched } from './launcher.ts';
import { memoryBreach, type SessionLimits } from './limits.ts';
import { helloSchema, replySchema } from './replies.ts';
import { type Watch, watch } from './watch.ts';

type Pending = {
  id: number;
  resolve: (result: unknown) => void;
  reject: (error: FarmError) => void;
  onProgress: ((progress: RenderProgress) => void) | undefined;
};

/** A renderer that hung up without a word is about to exit, and its exit says why. Blender writes a crash log first. */
const HANG_UP_MS = 5_000;

/** A line of Blender's in a message. */
const MAX_QUOTE = 200;

/** What a command fails with when its renderer has ended, unless the cause is known better. */
const CODES: Record<SessionEnd['reason'], ErrorCode> = {
  closed: 'INTERRUPTED',
  aborted: 'INTERRUPTED',
  timeout: 'RENDER_TIMEOUT',
  crashed: 'RENDER_FAILED',
  memory: 'MEMORY_LIMIT',
  output: 'OUTPUT_LIMIT',
  processes: 'PROCESS_LIMIT',
};

export class Wire {
  readonly closed: Promise<SessionEnd>;
  readonly #launched: Launched;
  readonly #ready: Promise<void>;
  #channel: Channel | undefined;
  #pending: Pending | undefined;
  #end: (SessionEnd & { code: ErrorCode; signal?: string | undefined }) | undefined;
  #counter = 0;
  #settleReady: { resolve: () => void; reject: (error: FarmError) => void };
  #listener: { close(): void };
  #limits: SessionLimits;
  #watch: Watch;
  #memoryBytes: number | undefined;
  #onLine: ((line: string) => void) | undefined;

  private constructor(
    launch: () => Launched,
    exchange: Exchange,
    limits: SessionLimits,
    listener: { close(): void },
  ) {
    this.#listener = listener;
    this.#limits = limits;
    this.#settleReady = { resolve: () => {}, reject: () => {} };
    this.#ready = new Promise<void>((resolve, reject) => {
      this.#settleReady = { resolve, reject };
    });
    // Whoever waits gets the rejection; where nobody waits it is not an unhandled one.
    this.#ready.catch(() => {});
    this.#launched = launch();
    this.#launched.output.onLine = (line) => {
      if (saysAllocationRefused(line)) {
        const { reason, message, code } = memoryBreach(limits);
        this.end(reason, `${message}: ${line.slice(0, MAX_QUOTE)}`, code);
      }
      this.#onLine?.(line);
    };
    this.#watch = watch(this.#launched, exchange.output, limits, ({ reason, message, code }) =>
      this.end(reason, message, code),
    );
    this.closed = this.#launched.exited.then(async (exit) => {
      const cause = causeOfExit(exit, this.#launched.output.lastWords(), limits);
      this.end('crashed', cause.message, cause.code, cause.signal);
      this.#listener.close();
      await exchange.remove();
      const { reason, message } = this.#end ?? { reason: 'crashed', message: cause.message };
      return { reason, message };
    });
  }

  /** Starts listening, then the renderer. */
  static async start(launch: () => Launched, exchange: Exchange, limits: SessionLimits): Promise<Wire> {
    let wire: Wire | undefined;
    const listener = await listen(exchange.socketPath, {
      onOpen: (channel) => wire?.onOpen(channel),
      onMessage: (message) => wire?.onMessage(message),
      onClose: (why) => wire?.onHangUp(why),
    });
    await exchange.openSocket();
    wire = new Wire(launch, exchange, limits, listener);
    return wire;
  }

  get ended(): SessionEnd | undefined {
    return this.#end;
  }

  /** As seen from outside where the launcher can, else as the renderer said after its last command. */
  get memoryBytes(): number | undefined {
    return this.#watch.memoryBytes ?? this.#memoryBytes;
  }

  /** Passes on the lines that the renderer prints while `work` lasts. */
  async whileListening<T>(onLine: ((line: string) => void) | undefined, work: () => Promise<T>): Promise<T> {
    this.#onLine = onLine;
    try {
      return await work();
    } finally {
      this.#onLine = undefined;
    }
  }

  /** The renderer's own words, for error reports. */
  get lastWords(): string {
    return this.#launched.output.lastWords();
  }

  /** Ends the renderer; the pending command fails with the matching error. Later calls change nothing. */
  end(
    reason: SessionEnd['reason'],
    message: string,
    code: ErrorCode = CODES[reason],
    signal?: string | undefined,
  ): void {
    if (this.#end !== undefined) return;
    this.#end = { reason, message, code, signal };
    this.#watch.stop();
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
    if (this.#end !== undefined) throw this.#errorOfEnd({ begun: false });
    this.#launched.resetPeak?.();
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

  #errorOfEnd(details?: { begun: false }): FarmError {
    const { reason, message, code, signal } = this.#end ?? {
      reason: 'crashed',
      message: 'Blender ended',
      code: 'RENDER_FAILED',
    };
    const text = {
      INTERRUPTED: `the render session was ended: ${message}`,
      RENDER_TIMEOUT: `Blender was stopped: ${message}`,
    };
    const said = code === 'INTERRUPTED' || code === 'RENDER_TIMEOUT' ? text[code] : message;
    return new FarmError(code, said, {
      details: { ended: reason, ...(signal !== undefined && { signal }), ...details },
    });
  }

  onOpen(channel: Channel): void {
    this.#channel = channel;
  }

  onHangUp(why: string): void {
    // The exit that follows has the better words; a renderer that hung up and stays is ended.
    setTimeout(() => this.end('crashed', why), HANG_UP_MS).unref();
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
    this.#memoryBytes = reply.data.memoryBytes ?? this.#memoryBytes;
    if (reply.data.ok) pending.resolve(reply.data.result);
    else pending.reject(this.#failure(reply.data));
  }

  /** A limit that Blender ran into and survived has its own code: whose fault it is depends on it. */
  #failure({
    code,
    message,
    details,
  }: {
    code: ErrorCode;
    message: string;
    details: Record<string, unknown>;
  }) {
    const cause = code === 'RENDER_FAILED' ? causeOfWords(message, this.#limits) : undefined;
    return new FarmError(cause?.code ?? code, cause?.message ?? message, { details });
  }
}
