/** Messages to whoever listens on a subject, without an answer and without a guarantee. */
import type { NatsConnection } from 'nats';
import { toJson } from '../json.ts';

export type Spoken = {
  say(message: unknown): void;
  /** `heard` gets what others say, and what this connection says itself; of what is no JSON, nothing. */
  listen(heard: (message: unknown) => void): void;
  end(): void;
};

export function spokenOn(nats: NatsConnection, subject: string): Spoken {
  let unsubscribe: (() => void) | undefined;
  return {
    say(message) {
      try {
        nats.publish(subject, toJson(message));
      } catch {
        // The connection is closed: nobody would hear it.
      }
    },
    listen(heard) {
      const subscription = nats.subscribe(subject, {
        callback(error, message) {
          if (error !== null) return;
          let said: unknown;
          try {
            said = message.json();
          } catch {
            return;
          }
          heard(said);
        },
      });
      unsubscribe = () => subscription.unsubscribe();
    },
    end: () => unsubscribe?.(),
  };
}
