/** The to-do list: a JetStream work-queue of pointers to tasks. The database says what a task is; this says "look". */
import {
  AckPolicy,
  DiscardPolicy,
  type JsMsg,
  type NatsConnection,
  nanos,
  RetentionPolicy,
  StorageType,
} from 'nats';
import { TASKS_STREAM, type TaskPointer, taskPointerSchema, taskSubject } from '../../protocol/messages.ts';
import { toJson } from '../json.ts';

const CONSUMER = 'dispatch';

/**
 * A coordinator that dies lets go of what it holds after this long. Short, because until then its tasks wait; long
 * against the pulse below, so that a busy coordinator never loses what it holds.
 */
const ACK_WAIT_MS = 10_000;
const PULSE_MS = 3_000;

/** A pointer that this coordinator holds: it is redelivered to another one unless it is taken off the list. */
export type HeldPointer = TaskPointer & {
  /** Takes it off the list for good. */
  done(): void;
  /** Puts it at the end of the list, so that others can be held in its place. */
  later(): void;
};

export interface TaskQueue extends AsyncDisposable {
  /** Adds pointers, in their order. Twice is harmless: a claim needs the row to be queued. */
  publish(pointers: readonly TaskPointer[]): Promise<void>;
  /** Calls `onPointer` for each pointer that arrives, holding at most `maxHeld` at a time. */
  hold(maxHeld: number, onPointer: (pointer: HeldPointer) => void): Promise<void>;
  /** Pointers on the list, held ones included. */
  depth(): Promise<number>;
}

/** Opens the stream and its consumer, making them where needed. */
export async function openTaskQueue(nats: NatsConnection): Promise<TaskQueue> {
  const manager = await nats.jetstreamManager();
  const config = {
    name: TASKS_STREAM,
    subjects: ['task.>'],
    retention: RetentionPolicy.Workqueue,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
  };
  await manager.streams.add(config);
  const jetstream = nats.jetstream();
  const held = new Map<string, JsMsg>();
  const pulse = setInterval(() => {
    for (const message of held.values()) message.working();
  }, PULSE_MS);
  let stop: (() => Promise<unknown>) | undefined;

  return {
    async publish(pointers) {
      const last = pointers.at(-1);
      if (last === undefined) return;
      // The server takes them in the order in which they are sent: when it has the last it has them all, and one answer
      // costs less than a thousand. One that it did not take after all is published again (republishLost).
      for (const pointer of pointers.slice(0, -1)) nats.publish(taskSubject(pointer), toJson(pointer));
      await jetstream.publish(taskSubject(last), toJson(last));
    },

    async hold(maxHeld, onPointer) {
      await manager.consumers.add(TASKS_STREAM, {
        durable_name: CONSUMER,
        ack_policy: AckPolicy.Explicit,
        ack_wait: nanos(ACK_WAIT_MS),
        max_ack_pending: maxHeld,
      });
      const consumer = await jetstream.consumers.get(TASKS_STREAM, CONSUMER);
      const messages = await consumer.consume({
        max_messages: maxHeld,
        callback: (message) => {
          const pointer = taskPointerSchema.safeParse(parse(message));
          // Acknowledged, since a 2.9 server keeps terminated messages of a work queue.
          if (!pointer.success) return message.ack();
          held.get(pointer.data.taskId)?.ack();
          held.set(pointer.data.taskId, message);
          const forget = (): void => {
            if (held.get(pointer.data.taskId) === message) held.delete(pointer.data.taskId);
          };
          onPointer({
            ...pointer.data,
            done: () => {
              message.ack();
              forget();
            },
            later: () => {
              forget();
              // Published anew it stands at the end of the list; a delayed refusal would keep its place in the server's
              // count of what is held. A crash in between leaves it there twice, which is harmless.
              void jetstream
                .publish(taskSubject(pointer.data), toJson(pointer.data))
                .then(() => message.ack())
                .catch(() => message.nak());
            },
          });
        },
      });
      stop = () => messages.close();
    },

    async depth() {
      return (await manager.streams.info(TASKS_STREAM)).state.messages;
    },

    async [Symbol.asyncDispose]() {
      clearInterval(pulse);
      await stop?.();
      // What is still held goes back at once instead of after ACK_WAIT_MS.
      for (const message of held.values()) message.nak();
      held.clear();
    },
  };
}

function parse(message: JsMsg): unknown {
  try {
    return message.json();
  } catch {
    return undefined;
  }
}
