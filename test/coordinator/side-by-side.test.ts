/** Two coordinators on one Postgres server: what they share is rows, and who leads. */
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { CoordinatorContext } from '../../coordinator/context.ts';
import type { FarmDb, FarmTables } from '../../coordinator/database/schema.ts';
import { EventLog } from '../../coordinator/event-log.ts';
import { claimChosen, readCandidates } from '../../coordinator/scheduling/claim-runs.ts';
import { completeAll } from '../../coordinator/scheduling/complete-tasks.ts';
import { extendAll } from '../../coordinator/scheduling/heartbeat.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { EMBEDDED_CHAIN_ID, startAnvil } from '../../platform/chain/embedded.ts';
import { jsonRpc } from '../../platform/chain/json-rpc.ts';
import { addressOf, newPrivateKey } from '../../platform/chain/signing.ts';
import { transactionSender } from '../../platform/chain/transactions.ts';
import { lead } from '../../platform/database/lead.ts';
import { type OpenDatabase, openDatabase } from '../../platform/database/open.ts';
import { turnsOn } from '../../platform/database/turns.ts';
import { receiptRoot } from '../../proof/receipts.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import { tempFolder } from '../platform/temp-folder.ts';
import {
  MIGRATIONS,
  type TaskRow,
  type TestCoordinator,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { type Completion, completionOf, giveTo, receiptFor, signRun } from './delivery.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

let postgres: PostgresServer;
let farm: TestCoordinator;
let other: OpenDatabase<FarmTables>;
let contexts: [CoordinatorContext, CoordinatorContext];
beforeAll(async () => {
  postgres = await startPostgres();
  const url = await postgres.createDatabase();
  farm = await testCoordinator({ url });
  other = await openDatabase<FarmTables>({ url }, MIGRATIONS);
  contexts = [farm.context, { ...farm.context, db: other.db, events: new EventLog(other.db) }];
});
afterAll(async () => {
  await other[Symbol.asyncDispose]();
  await farm[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const message = ({ batch, ...delivery }: Completion) => ({ deliveries: [delivery], batch });

describe('two coordinators on one server', () => {
  it('give no task twice, though both want the same ones at the same moment', async () => {
    const { id, tiles } = await farm.addJob({ tilesPerFrame: 200 });
    const nodes = [await farm.addNode(), await farm.addNode()];
    const leaseUntil = new Date(farm.clock.now() + 10_000);
    const claim = async (
      db: FarmDb,
      nodeId: (typeof nodes)[number]['id'],
      from: number,
    ): Promise<TaskRow[]> => {
      const candidates = await readCandidates(
        db,
        tiles.map((tile) => tile.id),
        new Date(farm.clock.now()),
      );
      const choices = candidates.slice(from).concat(candidates.slice(0, from));
      return await claimChosen(
        db,
        choices.map(({ id: task, token }) => ({ id: task, token, nodeId })),
        { now: new Date(farm.clock.now()), leaseUntil },
      );
    };
    const [a, b] = nodes;
    if (a === undefined || b === undefined) throw new Error('two nodes were made');
    const [first, second] = await Promise.all([claim(farm.db, a.id, 0), claim(other.db, b.id, 77)]);
    expect(new Set([...first, ...second].map((task) => task.id)).size).toBe(first.length + second.length);
    const rows = await farm.db.selectFrom('tasks').selectAll().where('job_id', '=', id).execute();
    const leased = rows.filter((row) => row.state === 'leased');
    expect(leased).toHaveLength(first.length + second.length);
    expect(leased.every((row) => row.token === 1)).toBe(true);
    for (const task of first) expect(leased.find((row) => row.id === task.id)?.node_id).toBe(a.id);
  });

  it('do not give what changed since it was looked at', async () => {
    const { tiles } = await farm.addJob({ tilesPerFrame: 1 });
    const node = await farm.addNode();
    const [seen] = await readCandidates(farm.db, [tiles[0]?.id as TaskRow['id']], new Date(farm.clock.now()));
    if (seen === undefined) throw new Error('the tile was not found');
    await farm.db.updateTable('tasks').set({ token: 1 }).where('id', '=', seen.id).execute();
    const choice = { id: seen.id, token: seen.token, nodeId: node.id };
    const times = { now: new Date(farm.clock.now()), leaseUntil: new Date(farm.clock.now() + 1_000) };
    expect(await claimChosen(other.db, [choice], times)).toEqual([]);
    expect((await farm.task(seen.id)).state).toBe('queued');
  });

  it('take two deliveries for one batch one after the other: the second is to be signed again', async () => {
    const node = await farm.addNode();
    const { id, tiles } = await farm.addJob({ tilesPerFrame: 2 });
    const tasks = [
      await giveTo(farm, node, tiles[0] as TaskRow),
      await giveTo(farm, node, tiles[1] as TaskRow),
    ];
    // Both are signed for an empty batch.
    const messages = [
      await completionOf(farm, node, tasks[0] as TaskRow),
      await completionOf(farm, node, tasks[1] as TaskRow),
    ];
    const results = await Promise.all(
      messages.map((one, index) =>
        completeAll(contexts[index] as CoordinatorContext, [{ nodeId: node.id, message: message(one) }]),
      ),
    );
    const replies = results.flat().map((result) => ('value' in result ? result.value : result));
    expect(replies.filter((reply) => 'moved' in reply && reply.moved === null)).toHaveLength(1);
    const late = replies.findIndex((reply) => 'moved' in reply && reply.moved !== null);
    const moved = replies[late];
    if (moved === undefined || !('moved' in moved) || moved.moved === null) throw new Error('none was late');
    const again = tasks[late] as TaskRow;
    const receipt = await receiptFor(farm, node, again);
    const signed = signRun(farm, node.key, moved.moved, [receipt]);
    const [result] = await completeAll(contexts[1], [
      { nodeId: node.id, message: message({ ...(messages[late] as Completion), batch: signed }) },
    ]);
    expect(result).toMatchObject({ value: { moved: null } });
    const rows = await farm.db
      .selectFrom('tasks')
      .selectAll()
      .where('job_id', '=', id)
      .orderBy('batch_index')
      .execute();
    const done = rows.filter((row) => row.state === 'delivered');
    expect(done.map((row) => row.batch_index)).toEqual([0, 1]);
    const root = receiptRoot(done.map((row) => row.leaf as Bytes32));
    expect(await farm.batchOf(id)).toMatchObject({ receipts: 2, root });
  });

  it('take what many nodes deliver at once on both, tiles of the same frames, while batches are closed', async () => {
    const { id, tiles, finishes } = await farm.addJob({ frames: [1, 2, 3, 4], tilesPerFrame: 6 });
    const completions: Parameters<typeof completeAll>[1][number][] = [];
    for (const tile of tiles) {
      const node = await farm.addNode();
      const task = await giveTo(farm, node, tile);
      completions.push({ nodeId: node.id, message: message(await completionOf(farm, node, task)) });
    }
    // Every other one, so that both have tiles of each frame.
    const halves = [0, 1].map((half) => completions.filter((_, index) => index % 2 === half));
    const [results] = await Promise.all([
      Promise.all(halves.map((some, index) => completeAll(contexts[index] as CoordinatorContext, some))),
      closeBatches(other.db, new Date(farm.clock.now()), 0),
      extendAll(
        contexts[1],
        completions.map(({ nodeId }) => ({ nodeId, leases: [] })),
      ),
    ]);
    const moved = results.flat().map((result) => ('value' in result ? result.value.moved : result.error));
    expect(moved).toEqual(completions.map(() => null));
    const frames = await farm.db.selectFrom('frames').selectAll().where('job_id', '=', id).execute();
    expect(frames.map((frame) => frame.tiles_delivered)).toEqual([6, 6, 6, 6]);
    for (const finish of finishes) expect((await farm.task(finish.id)).state).toBe('queued');
  });

  it('are led by one; when that one is gone the other leads', async () => {
    const LOCK = 4711;
    const log: string[] = [];
    const stops = [new AbortController(), new AbortController()];
    const leading = (name: string, db: FarmDb, stop: AbortController) => {
      let begun: () => void = () => undefined;
      const began = new Promise<void>((resolve) => {
        begun = resolve;
      });
      const work = async (signal: AbortSignal): Promise<void> => {
        log.push(`${name} leads`);
        begun();
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        log.push(`${name} ends`);
      };
      const done = lead(db as never, LOCK, work, {
        signal: stop.signal,
        onError: (error) => log.push(String(error)),
      });
      return { began, done };
    };
    const [first, second] = stops as [AbortController, AbortController];
    const one = leading('one', farm.db, first);
    await one.began;
    const two = leading('two', other.db, second);
    first.abort();
    await one.done;
    await two.began;
    second.abort();
    await two.done;
    expect(log).toEqual(['one leads', 'one ends', 'two leads', 'two ends']);
  });

  it('have their turns one after the other; who stops while it waits for one, stops', async () => {
    const LOCK = 4712;
    const [one, two] = [turnsOn(farm.db as never, LOCK), turnsOn(other.db as never, LOCK)];
    let inside = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setImmediate(resolve));
      inside -= 1;
    };
    await Promise.all(Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? one : two)(work)));
    expect({ inside, most }).toEqual({ inside: 0, most: 1 });

    const stop = new AbortController();
    let begun: () => void = () => undefined;
    const began = new Promise<void>((resolve) => {
      begun = resolve;
    });
    let release: () => void = () => undefined;
    const holding = one(async () => {
      begun();
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    });
    await began;
    const waiting = two(work, stop.signal);
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'INTERRUPTED' });
    release();
    await holding;
    await two(work);
    const { rows } = await sql<{ lock_timeout: string }>`show lock_timeout`.execute(other.db);
    expect(rows).toEqual([{ lock_timeout: '0' }]);
  });

  it('send with one key, and every transaction has a number of its own', async () => {
    const LOCK = 4713;
    const ending = new AbortController();
    await using folder = await tempFolder();
    const chain = await startAnvil({ stateFile: join(folder.path, 'state.json'), signal: ending.signal });
    try {
      const rpc = jsonRpc(chain.url);
      const key = newPrivateKey();
      await rpc.call('anvil_setBalance', [addressOf(key), '0xde0b6b3a7640000'], ending.signal);
      const senders = [farm.db, other.db].map((db) =>
        transactionSender(rpc, EMBEDDED_CHAIN_ID, key, turnsOn(db as never, LOCK)),
      );
      const to = addressOf(newPrivateKey());
      const sent = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          senders[index % 2]?.send({ to, data: '0x', label: `number ${index}` }),
        ),
      );
      expect(new Set(sent.map((receipt) => receipt?.txHash)).size).toBe(20);
      const count = await rpc.call('eth_getTransactionCount', [addressOf(key), 'latest'], ending.signal);
      expect(Number(count)).toBe(20);
    } finally {
      await chain.stop();
    }
  });
});
