/**
 * A member's connection to the message server, from one token to the next. A token lasts minutes and the server ends
 * the connection with it; so a new connection is made before, and takes over while the old one still works. Both listen
 * to the same inbox for a moment, so that no answer that is on its way is lost.
 */
import type { Msg, NatsConnection } from 'nats';
import { FarmError, isFarmError, toFarmError } from '../../protocol/errors.ts';
import type { MemberPass } from '../../protocol/sign-in.ts';
import { newIdBody } from '../new-id.ts';
import { backoffMs, pause } from '../wait.ts';
import { inboxPrefix } from './authority.ts';
import { connectNats, type NatsServer } from './connection.ts';

/** Asks on a subject and waits for the one answer. */
export type Asker = Pick<NatsConnection, 'request'>;

/** Renewed after this share of its time, which leaves as much again for a farm that is away for a while. */
const RENEW_AFTER = 0.5;

/** Never more often than this, whatever a farm says. */
const MIN_RENEW_MS = 500;

/** How long an old connection may take to hand over what it has still to send. */
const HANDOVER_MS = 2_000;

/** What the server says when nobody listens on a subject. */
const NO_RESPONDERS = 503;

export type MemberConnectionOptions = {
  server: NatsServer;
  /** The member's name: its inbox and its connection are called so. */
  name: string;
  /** Of the NATS key that the tokens are for. */
  seed: Uint8Array;
  signIn: (signal: AbortSignal) => Promise<MemberPass>;
  onNote: (error: FarmError, note: string) => void;
};

type Pending = { resolve: (message: Msg) => void; reject: (error: unknown) => void };

export class MemberConnection implements Asker, AsyncDisposable {
  readonly #options: MemberConnectionOptions;
  readonly #inbox: string;
  readonly #pending = new Map<string, Pending>();
  readonly #ending = new AbortController();
  #pass: MemberPass | undefined;
  #current: Link | undefined;
  #renewing: Promise<void> = Promise.resolve();
  #asked = 0;

  private constructor(options: MemberConnectionOptions) {
    this.#options = options;
    this.#inbox = `${inboxPrefix(options.name)}.${newIdBody(Date.now())}`;
  }

  /**
   * Signs in and connects; a farm that does not answer is waited for. Throws UNAUTHORIZED when it refuses, INTERRUPTED
   * when `signal` aborts.
   */
  static async open(options: MemberConnectionOptions, signal: AbortSignal): Promise<MemberConnection> {
    const opened = new MemberConnection(options);
    for (let attempt = 0; ; attempt++) {
      try {
        await opened.#renew(signal);
        break;
      } catch (error) {
        if (!isFarmError(error, 'FARM_UNREACHABLE')) throw error;
        await pause(backoffMs(attempt), signal);
        if (signal.aborted) throw new FarmError('INTERRUPTED', 'stopped before it was signed in');
      }
    }
    opened.#renewing = opened.#keepRenewing();
    return opened;
  }

  /** What the member works with now. */
  get pass(): MemberPass {
    if (this.#pass === undefined) throw new Error('nobody has signed in');
    return this.#pass;
  }

  /** As the client library's request, and as quick to say that nobody listens, or that there is no connection. */
  request(subject: string, payload: string | Uint8Array, options: { timeout: number }): Promise<Msg> {
    return new Promise((resolve, reject) => {
      const link = this.#current;
      if (link === undefined || !link.connected)
        return reject(new FarmError('FARM_UNREACHABLE', 'the connection to the message server is down'));
      this.#asked += 1;
      const reply = `${this.#inbox}.${this.#asked}`;
      const timer = setTimeout(
        () => settle(() => reject(new FarmError('FARM_UNREACHABLE', `no answer on ${subject}`))),
        options.timeout,
      );
      const settle = (how: () => void): void => {
        clearTimeout(timer);
        this.#pending.delete(reply);
        how();
      };
      this.#pending.set(reply, {
        resolve: (message) => settle(() => resolve(message)),
        reject: (error) => settle(() => reject(error)),
      });
      try {
        link.nats.publish(subject, payload, { reply });
      } catch (error) {
        settle(() => reject(error));
      }
    });
  }

  /** Ends it for good; who still waits for an answer is told. */
  async close(): Promise<void> {
    this.#ending.abort();
    await this.#renewing;
    for (const { reject } of [...this.#pending.values()])
      reject(new FarmError('INTERRUPTED', 'the connection was closed'));
    await this.#current?.nats.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #keepRenewing(): Promise<void> {
    const { signal } = this.#ending;
    let attempt = 0;
    while (!signal.aborted) {
      const renewMs = Math.max(MIN_RENEW_MS, this.pass.validForMs * RENEW_AFTER);
      await pause(attempt === 0 ? renewMs : backoffMs(attempt), signal);
      if (signal.aborted) return;
      try {
        await this.#renew(signal);
        attempt = 0;
      } catch (error) {
        if (signal.aborted) return;
        attempt += 1;
        this.#options.onNote(toFarmError(error), 'could not sign in anew; trying again');
      }
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    // Should the new connection fail, the old one still comes back with the new token.
    const pass = await this.#options.signIn(signal);
    this.#pass = pass;
    const next = await this.#connect();
    const previous = this.#current;
    this.#current = next;
    if (previous === undefined) return;
    const { nats } = previous;
    // Everything that was asked through it is at the server then; the answers come to the new one as well.
    if (previous.connected)
      await Promise.race([nats.flush().catch(() => undefined), pause(HANDOVER_MS, signal)]);
    await nats.close();
  }

  async #connect(): Promise<Link> {
    const { server, name, seed } = this.#options;
    const nats = await connectNats(server, name, () => ({ jwt: this.pass.jwt, seed }), { wait: false });
    try {
      nats.subscribe(`${this.#inbox}.*`, {
        callback: (error, message) => {
          if (error !== null) return;
          // The second copy, or one that came too late, has nobody who waits for it.
          const pending = this.#pending.get(message.subject);
          if (message.headers?.code === NO_RESPONDERS && message.data.length === 0)
            pending?.reject(new FarmError('FARM_UNREACHABLE', 'nobody of the farm listens'));
          else pending?.resolve(message);
        },
      });
      await nats.flush();
      return new Link(nats);
    } catch (error) {
      await nats.close();
      throw new FarmError('FARM_UNREACHABLE', `the message server at ${server.url} went away`, {
        cause: error,
      });
    }
  }
}

/** A connection, and whether it is up: what is sent while it is not would be thrown away without a word. */
class Link {
  readonly nats: NatsConnection;
  connected = true;

  constructor(nats: NatsConnection) {
    this.nats = nats;
    void this.#watch();
  }

  async #watch(): Promise<void> {
    for await (const { type } of this.nats.status()) {
      if (type === 'disconnect') this.connected = false;
      if (type === 'reconnect') this.connected = true;
    }
  }
}
