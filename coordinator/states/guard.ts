/**
 * The tables of states, enforced by the database: rows are moved many at a time in SQL, where no function of ours sees
 * them one by one.
 *
 * The whole decision stands in the trigger's WHEN, which the database evaluates without a call; the function only
 * raises. AFTER and not BEFORE: a BEFORE trigger locks every row once more. Inserts are let through, since a restored
 * backup puts rows in as they are.
 */
import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import type { FarmDb, FarmQuery } from '../database/schema.ts';
import { MACHINES } from './all.ts';
import { type StateMachine, statesOf } from './machine.ts';

/** Any number that nobody else locks: two coordinators that start together take turns. */
const LOCK = 7_733_001;

/** Brings the guards up to date with the machines; changes nothing where they are. To be called at every start. */
export async function guardStates(db: FarmDb, machines: readonly StateMachine[] = MACHINES): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await sql`select pg_advisory_xact_lock(${LOCK})`.execute(tx);
    for (const machine of machines) if (machine.table !== null) await guard(tx, machine, machine.table);
  });
}

async function guard(tx: FarmQuery, machine: StateMachine, table: string): Promise<void> {
  const name = `${table}_state_guard`;
  const statements = guardStatements(machine, table, name);
  const version = createHash('sha256').update(statements.join('\n')).digest('hex');
  const { rows } = await sql<{ version: string | null }>`
    select obj_description(oid, 'pg_trigger') as version from pg_trigger
    where tgname = ${name} and tgrelid = to_regclass(${table})`.execute(tx);
  // Making a trigger waits for everybody who writes to the table.
  if (rows[0]?.version === version) return;
  for (const statement of statements) await sql.raw(statement).execute(tx);
  await sql.raw(`comment on trigger ${name} on ${table} is '${version}'`).execute(tx);
}

function guardStatements(machine: StateMachine, table: string, name: string): string[] {
  const cases = statesOf(machine).flatMap((from) => {
    const targets = machine.edges.filter((edge) => edge.from === from).map((edge) => `'${edge.to}'`);
    return targets.length === 0 ? [] : [`when '${from}' then new.state in (${targets.join(', ')})`];
  });
  return [
    `create or replace function ${name}() returns trigger language plpgsql as $$
    begin
      raise exception 'a ${machine.name} cannot go from % to %', old.state, new.state
        using hint = 'docs/states.md has every change that is allowed';
    end $$`,
    `create or replace trigger ${name} after update of state on ${table} for each row
    when (old.state <> new.state and not (case old.state ${cases.join(' ')} else false end))
    execute function ${name}()`,
  ];
}
