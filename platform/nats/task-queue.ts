/** The to-do list: a JetStream work-queue of pointers to tasks. The database says what a task is; this says "look". */
import {
  AckPolicy,
  DiscardPolicy,
  ErrorCode,
  type JsMsg,
  type NatsConnection,
  NatsError,
  nanos,
  RetentionPolicy,
  StorageType,
} from 'nats';
import { TASKS_STREAM, type TaskPointer, taskPointerSchema, taskSubject } from '../../protocol/messages.ts';
import { toJson } from '../json.ts';
import { pause } from '../wait.ts';

const CONSUMER = 'dispatch';

/**
 * A coordinator that dies lets go of what it holds after this long. Short, because until then its tasks wait; long
 * against the pulse below, so that a busy coordinator never loses what it holds.
 */
const ACK_WAIT_MS = 10_000;
const PULSE_MS = 3_000;
const LOOK_MS = 500;

/** A pointer that this coordinator holds: it is redelivered to another one unless it is taken off the list. */
export type HeldPointer = TaskPointer & {
  /** Another coordinator holds it, and lets this one try its nodes; neither of the two below does anything then. */
  borrowed?: boolean;
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

/**
 * A question for pointers is asked anew after this, and an answer is missed after half of it: the server that gives them
 * out may have died while another one of its cluster keeps this connection.
 */
const PULL_MS = 4_000;

/** How long servers that start together may take to agree on who leads. */
const CLUSTER_START_MS = 60_000;
const ASK_AGAIN_MS = 250;

/**
 * Opens the stream and its consumer, making them where needed. `replicas`: on how many servers of a cluster they are kept;
 * a list that is there already is moved to as many.
 */
export async function openTaskQueue(
  nats: NatsConnection,
  { replicas = 1 }: { replicas?: number | undefined } = {},
): Promise<TaskQueue> {
  const manager = await untilClusterAgrees(() => nats.jetstreamManager());
  const config = {
    name: TASKS_STREAM,
    subjects: ['task.>'],
    retention: RetentionPolicy.Workqueue,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    num_replicas: replicas,
  };
  await untilClusterAgrees(async () => {
    const known = await manager.streams.info(TASKS_STREAM).catch((error: unknown) => {
      if (error instanceof NatsError && error.api_error?.code === NO_SUCH_STREAM) return null;
      throw error;
    });
    if (known === null) await manager.streams.add(config);
    else if (known.config.num_replicas !== replicas) await manager.streams.update(TASKS_STREAM, config);
  });
  const jetstream = nats.jetstream();
  const held = new Map<string, { message: JsMsg; saidMs: number }>();
  const pulse = setInterval(() => {
    const nowMs = performance.now();
    // Most are taken before it has to be said of them.
    for (const one of held.values()) {
      if (nowMs - one.saidMs < PULSE_MS) continue;
      one.saidMs = nowMs;
      one.message.working();
    }
  }, LOOK_MS);
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
      await untilClusterAgrees(() =>
        manager.consumers.add(TASKS_STREAM, {
          durable_name: CONSUMER,
          ack_policy: AckPolicy.Explicit,
          ack_wait: nanos(ACK_WAIT_MS),
          max_ack_pending: maxHeld,
        }),
      );
      const consumer = await jetstream.consumers.get(TASKS_STREAM, CONSUMER);
      const messages = await consumer.consume({
        max_messages: maxHeld,
        expires: PULL_MS,
        callback: (message) => {
          const pointer = taskPointerSchema.safeParse(parse(message));
          // Acknowledged, since a 2.9 server keeps terminated messages of a work queue.
          if (!pointer.success) return message.ack();
          held.get(pointer.data.taskId)?.message.ack();
          held.set(pointer.data.taskId, { message, saidMs: performance.now() });
          const forget = (): void => {
            if (held.get(pointer.data.taskId)?.message === message) held.delete(pointer.data.taskId);
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
      for (const { message } of held.values()) message.nak();
      held.clear();
    },
  };
}

const NO_SUCH_STREAM = 404;
/** Without a leader a cluster answers so, or not at all. */
const NOT_YET = 503;

async function untilClusterAgrees<T>(work: () => Promise<T>): Promise<T> {
  const patience = AbortSignal.timeout(CLUSTER_START_MS);
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const notYet =
        error instanceof NatsError &&
        (error.api_error?.code === NOT_YET ||
          error.code === ErrorCode.Timeout ||
          error.code === ErrorCode.NoResponders ||
          error.code === ErrorCode.JetStreamNotEnabled);
      if (!notYet || patience.aborted) throw error;
      await pause(ASK_AGAIN_MS, patience);
    }
  }
}

function parse(message: JsMsg): unknown {
  try {
    return message.json();
  } catch {
    return undefined;
  }
}
