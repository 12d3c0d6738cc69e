import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MACHINES } from '../../coordinator/states/all.ts';
import { guardStates } from '../../coordinator/states/guard.ts';
import { LEASE_MACHINE } from '../../coordinator/states/lease.ts';
import { type StateMachine, statesOf, transition } from '../../coordinator/states/machine.ts';
import { NODE_MACHINE, nodeState } from '../../coordinator/states/node.ts';
import { statesPage } from '../../coordinator/states/page.ts';
import { TASK_MACHINE } from '../../coordinator/states/task.ts';
import { packageRoot } from '../../platform/package-root.ts';
import { type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';

const named = MACHINES.map((machine) => [machine.name, machine] as const);
const stored = MACHINES.filter((machine) => machine.table !== null);

const allows = (machine: StateMachine, from: string, to: string): boolean =>
  machine.edges.some((edge) => edge.from === from && edge.to === to);

/** A machine, a state of it to begin with, and states that somebody wants next. */
const walks = (machines: readonly StateMachine[]) =>
  fc.constantFrom(...machines).chain((machine) =>
    fc.record({
      machine: fc.constant(machine),
      start: fc.constantFrom(...machine.initial),
      wishes: fc.array(fc.constantFrom(...statesOf(machine)), { maxLength: 20 }),
    }),
  );

describe.each(named)('the states of a %s', (_name, machine) => {
  it('can all be reached from where one begins', () => {
    const reached = new Set(machine.initial);
    // A set that grows while it is walked through is walked through to its end.
    for (const state of reached)
      for (const edge of machine.edges) if (edge.from === state) reached.add(edge.to);
    expect([...reached].toSorted()).toEqual(statesOf(machine).toSorted());
  });

  it('lead on from everywhere but the final ones', () => {
    const ends = statesOf(machine).filter((state) => !machine.edges.some((edge) => edge.from === state));
    expect(ends.toSorted()).toEqual([...machine.final].toSorted());
  });

  it('have one edge at most between two of them, never to themselves, with a reason', () => {
    const pairs = machine.edges.map(({ from, to }) => `${from} ${to}`);
    expect(new Set(pairs).size).toBe(pairs.length);
    for (const edge of machine.edges) {
      expect(edge.from).not.toBe(edge.to);
      expect(edge.reason).toMatch(/^[a-z].{10,}[^.]$/);
    }
  });
});

describe('a transition', () => {
  it('never leaves the table, however one walks, and names both states where it refuses', () => {
    fc.assert(
      fc.property(walks(MACHINES), ({ machine, start, wishes }) => {
        let state = start;
        for (const wish of wishes) {
          if (allows(machine, state, wish)) {
            state = transition(machine, state, wish).to;
            expect(statesOf(machine)).toContain(state);
          } else {
            const refusal = `a ${machine.name} cannot go from ${state} to ${wish}`;
            expect(() => transition(machine, state, wish)).toThrow(refusal);
          }
          if (machine.final.includes(state))
            expect(machine.edges.some((edge) => edge.from === state)).toBe(false);
        }
      }),
    );
  });
});

describe('a lease', () => {
  it('ends in whatever way its task leaves the node', () => {
    const ofTask = TASK_MACHINE.edges.filter((edge) => edge.from === 'leased').flatMap((edge) => edge.events);
    const ofLease = LEASE_MACHINE.edges.filter((edge) => edge.from === 'held').flatMap((edge) => edge.events);
    // Of two leases of one task the other may go on.
    expect(new Set(ofLease)).toEqual(new Set([...ofTask, 'task.copy-ended']));
  });
});

describe('the state of a node', () => {
  it('moves along the table as time goes by, it is heard of, and it is quarantined', () => {
    const step = fc.record({
      afterMs: fc.integer({ min: 0, max: 100 }),
      what: fc.constantFrom('nothing' as const, 'heard' as const, 'quarantined' as const),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let now = 1_000;
        const row: Parameters<typeof nodeState>[0] = { last_seen_at: new Date(now), quarantined_until: null };
        let state = nodeState(row, now, new Date(now - 50));
        expect(NODE_MACHINE.initial).toContain(state);
        for (const { afterMs, what } of steps) {
          now += afterMs;
          if (what === 'heard') row.last_seen_at = new Date(now);
          if (what === 'quarantined') row.quarantined_until = new Date(now + 60);
          const next = nodeState(row, now, new Date(now - 50));
          if (next !== state) expect(() => transition(NODE_MACHINE, state, next)).not.toThrow();
          state = next;
        }
      }),
    );
  });
});

describe('the page of states', () => {
  it('is the one that the machines give', async () => {
    const page = await readFile(join(packageRoot(), 'docs/states.md'), 'utf8');
    expect(page).toBe(statesPage(MACHINES));
  });
});

describe('the database', () => {
  let farm: TestCoordinator;
  let rows: Record<string, string>;
  beforeAll(async () => {
    farm = await testCoordinator();
    const job = await farm.addJob();
    rows = {
      jobs: `id = '${job.id}'`,
      tasks: `id = '${job.tiles[0]?.id}'`,
      frames: `job_id = '${job.id}' and frame = 1`,
    };
  });
  afterAll(() => farm[Symbol.asyncDispose]());

  const where = (machine: StateMachine) => sql.raw(`${machine.table} set state = `);
  const which = (machine: StateMachine) => sql.raw(` where ${rows[machine.table ?? '']}`);
  /** Puts the row there whatever the table says, as somebody does who mends it by hand. */
  const put = (machine: StateMachine, state: string) =>
    farm.db.transaction().execute(async (tx) => {
      await sql`set local session_replication_role = replica`.execute(tx);
      await sql`update ${where(machine)} ${state} ${which(machine)}`.execute(tx);
    });
  const move = (machine: StateMachine, state: string) =>
    sql`update ${where(machine)} ${state} ${which(machine)}`.execute(farm.db);
  const stateNow = async (machine: StateMachine) => {
    const found = await sql<{
      state: string;
    }>`select state from ${sql.raw(machine.table ?? '')} ${which(machine)}`.execute(farm.db);
    return found.rows[0]?.state;
  };

  it('agrees with the table about every pair of states', async () => {
    const checked: string[] = [];
    for (const machine of stored) {
      for (const from of statesOf(machine)) {
        for (const to of statesOf(machine)) {
          await put(machine, from);
          if (from === to || allows(machine, from, to)) {
            await move(machine, to);
            expect(await stateNow(machine)).toBe(to);
          } else {
            await expect(move(machine, to)).rejects.toThrow(
              `a ${machine.name} cannot go from ${from} to ${to}`,
            );
            expect(await stateNow(machine)).toBe(from);
          }
          checked.push(`${machine.name} ${from} ${to}`);
        }
      }
    }
    expect(new Set(checked).size).toBe(5 * 5 + 6 * 6 + 3 * 3);
  });

  it('stays on the table however one walks', async () => {
    await fc.assert(
      fc.asyncProperty(walks(stored), async ({ machine, start, wishes }) => {
        await put(machine, start);
        let state = start;
        for (const wish of wishes) {
          const moved = await move(machine, wish).then(
            () => true,
            () => false,
          );
          expect(moved).toBe(wish === state || allows(machine, state, wish));
          if (moved) state = wish;
        }
        expect(await stateNow(machine)).toBe(state);
      }),
      { numRuns: 30 },
    );
  });

  it('undoes a statement about many rows when one of them may not go there', async () => {
    const { id, tiles } = await farm.addJob({ tilesPerFrame: 3 });
    const [first] = tiles;
    await farm.db
      .updateTable('tasks')
      .set({ state: 'dropped' })
      .where('id', '=', first?.id as never)
      .execute();
    await expect(
      farm.db.updateTable('tasks').set({ state: 'leased' }).where('job_id', '=', id).execute(),
    ).rejects.toThrow('a task cannot go from dropped to leased');
    const states = await farm.db.selectFrom('tasks').select('state').where('job_id', '=', id).execute();
    expect(states.map(({ state }) => state).toSorted()).toEqual(['dropped', 'queued', 'queued', 'waiting']);
  });

  it('gets its triggers once, and new ones when the table of states changes', async () => {
    const versions = async () =>
      (
        await sql`select xmin, tgname from pg_trigger where tgname like '%_state_guard' order by tgname`.execute(
          farm.db,
        )
      ).rows;
    const before = await versions();
    expect(before).toHaveLength(stored.length);
    await guardStates(farm.db);
    expect(await versions()).toEqual(before);
    const job = stored.find(({ name }) => name === 'job') as StateMachine;
    const back = { from: 'failed', to: 'active', events: ['job.funded'], reason: 'for this test' } as const;
    await put(job, 'failed');
    await guardStates(farm.db, [{ ...job, edges: [...job.edges, back] }]);
    await move(job, 'active');
    await put(job, 'failed');
    await guardStates(farm.db);
    await expect(move(job, 'active')).rejects.toThrow('a job cannot go from failed to active');
  });
});
