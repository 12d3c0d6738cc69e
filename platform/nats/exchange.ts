/** Typed request and reply over NATS: validated on both ends, errors from the table travel as themselves. */
import { ErrorCode, type Msg, type NatsConnection, NatsError } from 'nats';
import type { z } from 'zod';
import { errorCodeOf, FarmError, isFarmError, toFarmError } from '../../protocol/errors.ts';
import { replyEnvelopeSchema } from '../../protocol/messages.ts';
import { toJson } from '../json.ts';
import { inboxPrefix } from './authority.ts';
import type { Asker } from './member-connection.ts';

type Exchange = { request: z.ZodType; reply: z.ZodType };

/**
 * Asks and waits for the reply. Throws the FarmError of the other side, FARM_UNREACHABLE when nobody answers in
 * `timeoutMs`, TOO_LARGE when the server would not take a message of that size, MESSAGE_INVALID when the answer is not of
 * the agreed form.
 */
export async function ask<E extends Exchange>(
  nats: Asker,
  exchange: E,
  subject: string,
  request: z.input<E['request']>,
  timeoutMs: number,
): Promise<z.output<E['reply']>> {
  let reply: Msg;
  try {
    reply = await nats.request(subject, toJson(request), { timeout: timeoutMs });
  } catch (error) {
    if (isFarmError(error)) throw error;
    if (error instanceof NatsError && error.code === ErrorCode.MaxPayloadExceeded)
      throw new FarmError('TOO_LARGE', `the message for ${subject} is larger than one may be`, {
        cause: error,
      });
    throw new FarmError('FARM_UNREACHABLE', `no answer on ${subject}`, { cause: error });
  }
  const envelope = replyEnvelopeSchema.safeParse(parse(reply));
  if (!envelope.success) throw new FarmError('MESSAGE_INVALID', `an answer on ${subject} that is not ours`);
  if (!envelope.data.ok) {
    throw new FarmError(errorCodeOf(envelope.data.code), envelope.data.message);
  }
  const value = exchange.reply.safeParse(envelope.data.value);
  if (!value.success)
    throw new FarmError('MESSAGE_INVALID', `an answer on ${subject}: ${value.error.message}`);
  return value.data as z.output<E['reply']>;
}

export type Handlers<Table extends Record<string, Exchange>, Id> = {
  [Verb in keyof Table]: (
    from: Id,
    request: z.output<Table[Verb]['request']>,
    signal: AbortSignal,
  ) => Promise<z.input<Table[Verb]['reply']>>;
};

/**
 * Serves a table of exchanges on `<role>.<id>.<verb>`. Who asks is read from the subject: the server lets each
 * credential publish only below its own id. Returns when `signal` aborts and the last answer is out.
 */
export async function serve<Table extends Record<string, Exchange>, IdSchema extends z.ZodType<string>>(
  nats: NatsConnection,
  role: string,
  table: Table,
  idSchema: IdSchema,
  handlers: Handlers<Table, z.output<IdSchema>>,
  signal: AbortSignal,
  onError: (error: FarmError, subject: string, from: string) => void,
): Promise<void> {
  // One queue group: when several coordinators run, each request is answered once.
  const subscription = nats.subscribe(`${role}.*.*`, { queue: 'coordinators' });
  signal.addEventListener('abort', () => subscription.unsubscribe(), { once: true });
  const pending = new Set<Promise<void>>();
  for await (const message of subscription) {
    const work = answer(message).finally(() => pending.delete(work));
    pending.add(work);
  }
  await Promise.all(pending);

  async function answer(message: Msg): Promise<void> {
    const [, rawId = '', verb] = message.subject.split('.');
    // The server checks who publishes on a subject, not what reply subject is asked for. An answer to any other place
    // than the asker's own inbox would publish there with this program's rights.
    if (message.reply?.startsWith(`${inboxPrefix(rawId)}.`) !== true) {
      onError(
        new FarmError('MESSAGE_INVALID', `${rawId} asks for an answer to ${message.reply}`),
        message.subject,
        rawId,
      );
      return;
    }
    try {
      const exchange = verb !== undefined && Object.hasOwn(table, verb) ? table[verb] : undefined;
      if (verb === undefined || exchange === undefined)
        throw new FarmError('MESSAGE_INVALID', `no such request: ${verb}`);
      const id = idSchema.safeParse(rawId);
      if (!id.success) throw new FarmError('MESSAGE_INVALID', `not a name: ${rawId}`);
      const request = exchange.request.safeParse(parse(message));
      if (!request.success) throw new FarmError('MESSAGE_INVALID', `${verb}: ${request.error.message}`);
      const handler = handlers[verb as keyof Table] as (
        from: z.output<IdSchema>,
        request: unknown,
        signal: AbortSignal,
      ) => Promise<unknown>;
      const value = await handler(id.data, request.data, signal);
      message.respond(toJson({ ok: true, value }));
    } catch (error) {
      const failure = toFarmError(error);
      onError(failure, message.subject, rawId);
      // INTERNAL may carry anything in its message; the other side is not trusted with it.
      const text = failure.code === 'INTERNAL' ? 'the coordinator failed; its log says why' : failure.message;
      message.respond(toJson({ ok: false, code: failure.code, message: text.slice(0, 2_000) }));
    }
  }
}

function parse(message: Msg): unknown {
  try {
    return message.json();
  } catch {
    return undefined;
  }
}
