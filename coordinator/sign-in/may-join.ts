/** Who may work for this farm, under which name. Pure. */
import { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import { type Address, addressSchema, type NodeId } from '../../protocol/ids.ts';
import { type Applicant, memberIdSchema, memberRoleSchema } from '../../protocol/sign-in.ts';

export const joinSchema = z.strictObject({
  /** `known`: those in the list. `anyone`: any other key too, as a node, under the name made from its address. */
  who: z.enum(['known', 'anyone']),
  known: z.array(z.strictObject({ role: memberRoleSchema, id: memberIdSchema, address: addressSchema })),
});
export type Join = z.infer<typeof joinSchema>;

/** As much of an address as a name has room for: 31 digits, so that nobody finds a second key for a name. */
const NAME_DIGITS = 31;

/** The name of a node that nobody knows. The address is in it, so no other key can have it. */
export function nameOfStranger(address: Address): NodeId {
  return `n${address.slice(2, 2 + NAME_DIGITS)}` as NodeId;
}

/** Throws UNAUTHORIZED, naming what would have to be different. */
export function requireMayJoin(
  { who, known }: Join,
  member: Pick<Applicant, 'role' | 'id' | 'address'>,
): void {
  const { role, id, address } = member;
  const named = known.find((one) => one.role === role && one.id === id);
  if (named !== undefined) {
    if (named.address === address) return;
    throw refusal(`the name ${id} belongs to another key`);
  }
  if (role === 'verifier') throw refusal(`${id} at ${address} is not one of this farm's verifiers`);
  if (who === 'known') throw refusal(`${id} at ${address} is not one of the nodes this farm knows`);
  const name = nameOfStranger(address);
  if (id !== name) throw refusal(`a node that this farm does not know goes by ${name}, not by ${id}`);
}

function refusal(message: string): FarmError {
  return new FarmError('UNAUTHORIZED', message, { kept: 'nothing was changed' });
}
