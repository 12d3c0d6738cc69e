/**
 * A node becomes one that the escrow pays: its operator signs that it is its node and, on the embedded chain, stakes
 * test money for it; the farm relays both, so that nobody who only renders needs gas. What was signed is kept: a chain
 * that was killed may have forgotten it.
 */
import type { NodeTerms, SignedPermit, StakeTerms } from '../../platform/chain/chain.ts';
import { EMBEDDED_STAKE } from '../../platform/chain/deploy.ts';
import { EMBEDDED_CHAIN_ID } from '../../platform/chain/embedded.ts';
import { deviceClassKey } from '../../platform/chain/keys.ts';
import {
  recoverNodeTermsSigner,
  recoverStakeTermsSigner,
  registryDomain,
} from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, NodeId } from '../../protocol/ids.ts';
import { type Enrol, type Register, registerSchema } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';

/** An operator that has signed twice has staked before: what it lost since is not given back to it. */
const NONCE_OF_FIRST_STAKE = 1n;

/** What is missing until the node may work; null: nothing, which is noted. */
export async function whatToSign(
  context: CoordinatorContext,
  id: NodeId,
  { address, operator }: { address: Address; operator: Address },
  deviceClass: string,
  signal: AbortSignal,
): Promise<Enrol | null> {
  const { chain } = context;
  const [known, { nonce, stake, thawing }] = await Promise.all([
    chain.node(address, signal),
    chain.operator(operator, signal),
  ]);
  if (known !== null && known.operator !== operator) {
    throw new FarmError('UNAUTHORIZED', `the registry has ${id} as a node of ${known.operator}`);
  }
  const registered = known !== null && known.deviceClass === deviceClassKey(deviceClass);
  const neverStaked = stake + thawing === 0n && nonce <= NONCE_OF_FIRST_STAKE;
  const toStake = chain.chainId === EMBEDDED_CHAIN_ID && neverStaked ? EMBEDDED_STAKE : 0n;
  await noteOperator(context, id, known && operator);
  if (registered && toStake === 0n) return null;
  return {
    ...{ nonce, stake: toStake, permitNonce: await chain.permitNonce(operator, signal) },
    deviceClass: registered ? null : deviceClass,
  };
}

/** Takes what was signed, keeps it and relays it. Throws MESSAGE_INVALID where it is not what was asked for. */
export async function registerNode(
  context: CoordinatorContext,
  id: NodeId,
  message: Register,
  signal: AbortSignal,
): Promise<void> {
  const { db } = context;
  const row = await db.selectFrom('nodes').select('address').where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw new FarmError('UNAUTHORIZED', `${id} has not said hello`);
  requireSigned(context, row.address, message);
  await db
    .updateTable('nodes')
    .set({ enrolment: toJson(message) })
    .where('id', '=', id)
    .execute();
  if (!(await relayEnrolment(context, id, signal)))
    throw new FarmError('NODE_NOT_REGISTERED', `${id} signed nothing to be registered by`);
}

/** Puts on chain what of a node's enrolment is not there. False when nothing was signed that would help. */
export async function relayEnrolment(
  context: CoordinatorContext,
  id: NodeId,
  signal: AbortSignal,
): Promise<boolean> {
  const { chain, db } = context;
  const row = await db
    .selectFrom('nodes')
    .select(['address', 'enrolment'])
    .where('id', '=', id)
    .executeTakeFirst();
  if (row?.enrolment == null) return false;
  const { operator, node, stake } = registerSchema.parse(row.enrolment);
  const known = await chain.node(row.address, signal);
  if (node !== null && known?.deviceClass !== node.deviceClass) {
    const terms = nodeTerms(row.address, operator, node);
    await chain.registerNode(terms, node.operatorSignature, node.nodeSignature, signal);
  } else if (known === null) return false;
  if (stake !== null) await relayStake(context, operator, stake, signal);
  await noteOperator(context, id, operator);
  return true;
}

async function relayStake(
  { chain }: CoordinatorContext,
  operator: Address,
  stake: NonNullable<Register['stake']>,
  signal: AbortSignal,
): Promise<void> {
  // Once only: a nonce that has gone on means that it was put down.
  if ((await chain.operator(operator, signal)).nonce !== stake.nonce) return;
  const balance = await chain.tokenBalance(operator, signal);
  if (balance < stake.amount) await chain.mintTestTokens(operator, stake.amount - balance, signal);
  const permit: SignedPermit = stake.permit;
  await chain.stakeFor(stakeTerms(operator, stake), stake.signature, permit, signal);
}

function requireSigned(
  { chain }: CoordinatorContext,
  address: Address,
  { operator, node, stake }: Register,
): void {
  const domain = registryDomain(chain.chainId, chain.registryAddress);
  if (node !== null) {
    const terms = nodeTerms(address, operator, node);
    const signers = [node.operatorSignature, node.nodeSignature].map((one) =>
      recoverNodeTermsSigner(domain, terms, one),
    );
    if (signers[0] !== operator || signers[1] !== address)
      throw new FarmError('MESSAGE_INVALID', 'the registration is not signed by the node and its operator');
  }
  if (stake === null) return;
  if (chain.chainId !== EMBEDDED_CHAIN_ID || stake.amount !== EMBEDDED_STAKE)
    throw new FarmError('MESSAGE_INVALID', `this farm stakes nothing, or not ${stake.amount}, for a node`);
  if (recoverStakeTermsSigner(domain, stakeTerms(operator, stake), stake.signature) !== operator)
    throw new FarmError('MESSAGE_INVALID', 'the stake is not signed by the operator');
}

function nodeTerms(address: Address, operator: Address, node: NonNullable<Register['node']>): NodeTerms {
  const { deviceClass, ask, nonce } = node;
  return { node: address, operator, deviceClass, ask, nonce };
}

function stakeTerms(operator: Address, { amount, nonce }: NonNullable<Register['stake']>): StakeTerms {
  return { operator, amount, nonce };
}

async function noteOperator({ db }: CoordinatorContext, id: NodeId, operator: Address | null): Promise<void> {
  await db.updateTable('nodes').set({ operator }).where('id', '=', id).execute();
}
