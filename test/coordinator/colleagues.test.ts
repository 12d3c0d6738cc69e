/** Coordinators of one farm on a real message server: who is woken by what, and who cannot wake anybody. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { COLLEAGUES_SUBJECT, Colleagues, type Word } from '../../coordinator/colleagues.ts';
import { spokenOn } from '../../platform/nats/spoken.ts';
import { newIdBody } from '../../platform/new-id.ts';
import { jobIdSchema, taskIdSchema } from '../../protocol/ids.ts';
import type { TaskPointer } from '../../protocol/messages.ts';
import { type NatsFixture, startNats } from '../platform/nats-server-fixture.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

const newId = (kind: string): string => `${kind}_${newIdBody(Date.now())}`;

let nats: NatsFixture;
beforeAll(async () => {
  nats = await startNats();
});
afterAll(async () => {
  await nats[Symbol.asyncDispose]();
});

/** A coordinator on a connection of its own, and what the others woke it with. */
async function coordinator() {
  const connection = await nats.as('coordinator');
  const heard: Word[] = [];
  const waiting = new Map<Word, () => void>();
  const hear = (word: Word) => (): void => {
    heard.push(word);
    waiting.get(word)?.();
  };
  const offered: TaskPointer[] = [];
  const wake = {
    anything: hear('anything'),
    room: hear('room'),
    taken: hear('taken'),
    waiting: hear('waiting'),
    arrived: hear('arrived'),
    money: hear('money'),
  };
  const colleagues = new Colleagues(spokenOn(connection, COLLEAGUES_SUBJECT), wake, (pointers) =>
    offered.push(...pointers),
  );
  // The server knows of the subscription now.
  await connection.flush();
  const until = (word: Word): Promise<void> =>
    new Promise((resolve) => {
      waiting.set(word, resolve);
    });
  return { connection, colleagues, heard, offered, until };
}

describe('coordinators of one farm', () => {
  it('wake each other, not themselves, and say what happens in one moment together', async () => {
    const [one, other] = [await coordinator(), await coordinator()];
    using _one = one.colleagues;
    using _other = other.colleagues;
    const money = other.until('money');
    for (let times = 0; times < 1_000; times++) one.colleagues.tell('room');
    one.colleagues.tell('money');
    await money;
    // The first at once, all others with the next message.
    expect(other.heard).toEqual(['room', 'room', 'money']);
    const answered = one.until('arrived');
    const task = { taskId: taskIdSchema.parse(newId('task')), jobId: jobIdSchema.parse(newId('job')) };
    other.colleagues.offer([task]);
    other.colleagues.tell('arrived');
    await answered;
    expect(one.heard).toEqual(['arrived']);
    expect(one.offered).toEqual([task]);
    expect(other.offered).toEqual([]);
  });

  it('are woken by no node, and not by what is none of their words', async () => {
    const [one, other] = [await coordinator(), await coordinator()];
    using _one = one.colleagues;
    using _other = other.colleagues;
    const node = await nats.as('node-1');
    const forged = JSON.stringify({ from: 'node-1', words: ['anything'] });
    node.publish(COLLEAGUES_SUBJECT, forged);
    await node.flush();
    for (const text of ['', '{', '[]', '{"from":"x","words":["everything"]}', `{"words":["anything"]}`])
      one.connection.publish(COLLEAGUES_SUBJECT, text);
    const heard = other.until('taken');
    one.colleagues.tell('taken');
    await heard;
    expect(other.heard).toEqual(['taken']);
  });

  it('say nothing, and throw nothing, without a connection', async () => {
    const one = await coordinator();
    await one.connection.close();
    expect(() => one.colleagues.tell('anything')).not.toThrow();
    one.colleagues[Symbol.dispose]();
  });
});
