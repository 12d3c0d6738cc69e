/** The contracts of the farm, ready to encode and decode with. */
import { contractOf, type EventOf } from './abi.ts';
import { NodeRegistry, RenderEscrow, TestToken } from './artifacts.ts';

export const escrow = contractOf(RenderEscrow.abi);
export const registry = contractOf(NodeRegistry.abi);
export const token = contractOf(TestToken.abi);

export type EscrowEvent = EventOf<typeof RenderEscrow.abi>;
export type RegistryEvent = EventOf<typeof NodeRegistry.abi>;
