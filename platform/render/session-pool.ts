/**
 * The renderers that a node keeps alive, one per engine, scene and device. A session is free, in use, or ending;
 * only {@link SessionPool.use} puts it in use, and only `#evict` ends one that still lives.
 *
 * A renderer that breaks down: the work fails with the cause, and the next use opens a new one. The pool does the
 * work again by itself in one case only, when the renderer was found dead before any command had begun (it died
 * while idle). A scene that breaks two renderers down in a row, no work of it having succeeded in between, is at
 * fault: SCENE_CRASHES.
 */
import { totalmem } from 'node:os';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { EngineInfo, RenderSession } from './runtime.ts';
import { type Living, nextExpiryMs, type PoolLimits, whomToEvict } from './session-pool-policy.ts';

export type SessionKey = { engine: string; scene: Digest; device: string };

/** The key of sessions of an engine: two GPUs of one class have a session each. */
export function sessionKey(engine: EngineInfo, scene: Digest): SessionKey {
  return { engine: engine.id, scene, device: engine.device?.card ?? engine.deviceClass };
}

/** What the pool calls when it has no living session for a key. */
export type OpenSession = (signal: AbortSignal) => Promise<RenderSession>;

export type SessionPoolOptions = {
  limits?: Partial<PoolLimits>;
  now?: () => number;
  /** How many devices render at once: each may keep as many sessions as one alone. */
  devices?: number;
};

/** An artist who looks at a picture and renders again does so within minutes. */
const IDLE_MS = 5 * 60_000;
/** Half for what is warm; a session that renders may take as much again before its own limit. */
const MEMORY_SHARE = 0.5;
/** A node does a few jobs in turn; more renderers than this would only hold memory. */
const MAX_SESSIONS = 4;
/** The breakdowns that are remembered, so that a node that serves for years does not collect them. */
const MAX_REMEMBERED = 1_000;
/** From here on the scene is at fault. */
const CRASHES_IN_A_ROW = 2;

type Entry = {
  id: string;
  key: SessionKey;
  opening: Promise<RenderSession>;
  session: RenderSession | undefined;
  lastUsedMs: number;
  users: number;
};

function idOf({ engine, scene, device }: SessionKey): string {
  return `${engine} ${device} ${scene}`;
}

/** What a renderer that broke down left as an error; its limits have codes of their own. */
function isCrash(error: unknown): error is FarmError {
  return isFarmError(error, 'RENDER_FAILED') && error.details?.['ended'] === 'crashed';
}

/** Killed from outside, most likely by the kernel for want of memory: that says nothing about the scene. */
function isFromOutside(error: FarmError): boolean {
  return ['SIGKILL', 'SIGTERM'].includes(String(error.details?.['signal']));
}

export class SessionPool implements AsyncDisposable {
  readonly #limits: PoolLimits;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  /** Breakdowns in a row, by key. */
  readonly #crashes = new Map<string, number>();
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor({ limits, now = () => performance.now(), devices = 1 }: SessionPoolOptions = {}) {
    const memoryBytes = Math.floor(totalmem() * MEMORY_SHARE);
    this.#limits = { idleMs: IDLE_MS, memoryBytes, sessions: MAX_SESSIONS * devices, ...limits };
    this.#now = now;
  }

  /** The scenes that are loaded, most recently used first. */
  get warm(): { engine: string; scene: Digest }[] {
    return [...this.#entries.values()]
      .filter((entry) => entry.session !== undefined)
      .sort((a, b) => b.lastUsedMs - a.lastUsedMs)
      .map(({ key: { engine, scene } }) => ({ engine, scene }));
  }

  /** Whether something is being done in any of them, or one is opening. */
  get inUse(): boolean {
    return this.#living().some((one) => one.inUse);
  }

  /**
   * Does `work` in the session of this key, opening one where there is none. Aborting `signal` ends the opening;
   * what `work` waits for is its own to abort.
   */
  async use<T>(
    key: SessionKey,
    open: OpenSession,
    signal: AbortSignal,
    work: (session: RenderSession) => Promise<T>,
  ): Promise<T> {
    try {
      return await this.#attempt(key, open, signal, work);
    } catch (error) {
      if (!isCrash(error) || error.details?.['begun'] !== false || signal.aborted) throw error;
      return await this.#attempt(key, open, signal, work);
    }
  }

  async #attempt<T>(
    key: SessionKey,
    open: OpenSession,
    signal: AbortSignal,
    work: (session: RenderSession) => Promise<T>,
  ): Promise<T> {
    if (this.#closing.signal.aborted) throw new FarmError('INTERRUPTED', 'the node is stopping');
    const found = this.#entries.get(idOf(key));
    const entry = found ?? this.#open(key, open, signal);
    entry.users += 1;
    try {
      const session = await entry.opening.catch((error: unknown) => {
        // Somebody else's opening, which they gave up: not this work's to fail with.
        const given = found !== undefined && isFarmError(error, 'INTERRUPTED');
        return given && !signal.aborted && !this.#closing.signal.aborted ? null : Promise.reject(error);
      });
      if (session === null) return await this.#attempt(key, open, signal, work);
      const result = await work(session);
      this.#crashes.delete(entry.id);
      return result;
    } catch (error) {
      throw this.#judged(entry, error);
    } finally {
      entry.users -= 1;
      entry.lastUsedMs = this.#now();
      await this.#evict(0);
    }
  }

  /** Makes room, then opens. The entry stands before the session does, so that two uses at once share it. */
  #open(key: SessionKey, open: OpenSession, signal: AbortSignal): Entry {
    const id = idOf(key);
    const stop = AbortSignal.any([signal, this.#closing.signal]);
    const room = this.#evict(1);
    const opening = room.then(async () => {
      const session = await open(stop);
      entry.session = session;
      // A renderer that has ended must not be given another task.
      void session.closed.then(() => this.#forget(entry));
      return session;
    });
    const entry: Entry = { id, key, opening, session: undefined, lastUsedMs: this.#now(), users: 0 };
    this.#entries.set(id, entry);
    // Whoever waits gets the rejection.
    opening.catch(() => this.#forget(entry));
    return entry;
  }

  #forget(entry: Entry): void {
    if (this.#entries.get(entry.id) === entry) this.#entries.delete(entry.id);
  }

  /** The error to report: the second breakdown in a row is the scene's fault. */
  #judged(entry: Entry, error: unknown): unknown {
    if (!isCrash(error)) return error;
    this.#forget(entry);
    if (error.details?.['begun'] === false || isFromOutside(error)) return error;
    const crashes = (this.#crashes.get(entry.id) ?? 0) + 1;
    this.#crashes.delete(entry.id);
    this.#crashes.set(entry.id, crashes);
    const [oldest] = this.#crashes.keys();
    if (this.#crashes.size > MAX_REMEMBERED && oldest !== undefined) this.#crashes.delete(oldest);
    if (crashes < CRASHES_IN_A_ROW) return error;
    const message = `Blender broke down ${crashes} times in a row over this scene: ${error.message}`;
    return new FarmError('SCENE_CRASHES', message, { cause: error });
  }

  #living(): Living<Entry>[] {
    return [...this.#entries.values()].map((entry) => ({
      id: entry,
      lastUsedMs: entry.lastUsedMs,
      memoryBytes: entry.session?.memoryBytes ?? 0,
      inUse: entry.users > 0 || entry.session === undefined,
    }));
  }

  async #evict(opening: number): Promise<void> {
    const gone = whomToEvict(this.#living(), this.#limits, { nowMs: this.#now(), opening });
    await Promise.all(
      gone.map(async (entry) => {
        this.#forget(entry);
        await entry.session?.close();
      }),
    );
    this.#schedule();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const inMs = nextExpiryMs(this.#living(), this.#limits, this.#now());
    if (inMs === undefined || this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => void this.#evict(0), inMs);
    this.#timer.unref();
  }

  /** Ends every session, those in use too. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    await Promise.all(
      entries.map(async (entry) => {
        const session = await entry.opening.catch(() => undefined);
        await session?.close();
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
