/**
 * Which name a new batch gets on chain. A node reuses its lanes: the smallest that no unsettled batch of it is in, with
 * a generation that was never given out there. A batch that the escrow refused leaves a gap, which the contract allows.
 *
 * A batch is settled in the database only once that is safe on chain (settle-batches.ts): or its lane would be given
 * out while a chain that forgot its last second still holds it.
 */
import { sql } from 'kysely';
import { batchKeyOf } from '../../platform/chain/keys.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import type { FarmQuery } from '../database/schema.ts';

export type Lane = { lane: number; generation: string; chain_key: Bytes32 };

/** What a batch of `node` that is made now is to be called. Two at once may get the same; the unique index tells. */
export async function freeLane(db: FarmQuery, node: Address): Promise<Lane> {
  const free = (await freeLanes(db, [node])).get(node);
  if (free === undefined) throw new Error(`no lane is free for ${node}`);
  return free;
}

/** The same for several nodes. */
export async function freeLanes(db: FarmQuery, nodes: readonly Address[]): Promise<Map<Address, Lane>> {
  const { rows } = await sql<{ node: Address; lane: number; generation: string }>`
    select n.node, free.lane, free.generation
    from unnest(${[...new Set(nodes)]}::text[]) as n(node)
    cross join lateral (
      select c.lane, (coalesce((select max(generation) from batches where node_address = n.node and lane = c.lane), 0) + 1)::text
                     as generation
      from (select 0 as lane union
            select lane + 1 from batches where node_address = n.node and state <> 'settled' and lane is not null) c
      where not exists (
        select 1 from batches where node_address = n.node and lane = c.lane and state <> 'settled')
      order by c.lane limit 1) free`.execute(db);
  return new Map(
    rows.map(({ node, lane, generation }) => [
      node,
      { lane, generation, chain_key: batchKeyOf({ node, lane, generation: BigInt(generation) }) },
    ]),
  );
}

/** The batch's name on chain. Every batch that is not settled has one. */
export function chainKey(batch: { id: string; chain_key: Bytes32 | null }): Bytes32 {
  if (batch.chain_key === null) throw new Error(`batch ${batch.id} has no name on chain`);
  return batch.chain_key;
}
