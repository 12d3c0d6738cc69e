/**
 * The node that canaries are committed by: a key of the farm's own, registered and staked like any other. Once it has
 * delivered something wrong another one takes its place, as a cheat's would: who knew the key would know the canary.
 */
import { createHmac } from 'node:crypto';
import { sql } from 'kysely';
import { signEnrolment } from '../../platform/chain/sign-enrolment.ts';
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import type { EngineInfo } from '../../platform/render/runtime.ts';
import { type Address, type NodeId, nodeIdSchema } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import { registerNode, whatToSign } from '../scheduling/enrolment.ts';

export type CanaryNode = { id: NodeId; key: PrivateKey; address: Address };

/** A node that no wrong canary was planted by, known to the registry. */
export async function canaryNode(
  context: CoordinatorContext,
  { id: engine, deviceClass }: Pick<EngineInfo, 'id' | 'deviceClass'>,
  signal: AbortSignal,
): Promise<CanaryNode> {
  const { db, chain, clock, secrets } = context;
  const { rows } = await sql<{ burnt: number }>`
    select count(distinct b.node_id)::int as burnt from canaries c join batches b on b.id = c.batch_id
    where c.bad`.execute(db);
  const nth = (rows[0]?.burnt ?? 0) + 1;
  const key = canaryKey(secrets.coordinatorKey, nth);
  const address = addressOf(key);
  // The address in it, since anybody may call a node canary-1.
  const id = nodeIdSchema.parse(`canary-${nth}-${address.slice('0x'.length, '0x'.length + 12)}`);
  const node = { id, key, address };
  await db
    .insertInto('nodes')
    .values({
      id: node.id,
      address: node.address,
      engine,
      device_class: deviceClass,
      // It never asks for work, so nobody may count on it.
      last_seen_at: new Date(0),
      canary: true,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const parties = { address: node.address, operator: node.address };
  const enrol = await whatToSign(context, node.id, parties, deviceClass, signal);
  if (enrol === null) return node;
  const welcome = {
    chainId: chain.chainId,
    registry: chain.registryAddress,
    token: chain.tokenAddress,
  };
  const nowS = Math.floor(clock.now() / 1_000);
  const keys = { nodeKey: key, operatorKey: key };
  const signed = signEnrolment(welcome, enrol, keys, { classes: [deviceClass], nowS });
  await registerNode(context, node.id, signed, signal);
  return node;
}

/** Made again from the coordinator's own key, so that there is nothing more to be kept. */
function canaryKey(coordinatorKey: string, nth: number): PrivateKey {
  return `0x${createHmac('sha256', coordinatorKey).update(`canary node ${nth}`).digest('hex')}` as PrivateKey;
}
