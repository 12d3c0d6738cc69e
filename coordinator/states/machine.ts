/** A state machine as one table of data, and the one function that says whether it may go somewhere. Pure. */
import type { EscrowEvent, RegistryEvent } from '../../platform/chain/contracts.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { FarmEvent } from '../../protocol/events.ts';

/**
 * What moves a machine: an event of a job's log, one of the contracts, or one that nobody logs because it would drown
 * everything else.
 */
export type Happening =
  | FarmEvent['type']
  | EscrowEvent['name']
  | RegistryEvent['name']
  | 'node.seen'
  | 'node.silent'
  | 'quarantine.over';

export type Edge<State extends string> = {
  from: State;
  to: State;
  /** Which of these tells of it. */
  events: readonly [Happening, ...Happening[]];
  /** Why it goes there, for people. */
  reason: string;
};

export type StateMachine<State extends string = string> = {
  /** What it is of: `job`. */
  name: string;
  /** The table whose column `state` holds it; null: it is not stored, it follows from other columns. */
  table: 'jobs' | 'tasks' | 'frames' | null;
  /** Where it is, where neither table nor other columns have it. */
  kept?: string;
  /** Every state and what it means. */
  states: Readonly<Record<State, string>>;
  /** Where one begins. */
  initial: readonly State[];
  /** Where nothing leads on from. */
  final: readonly State[];
  /** At most one from a state to another. */
  edges: readonly Edge<State>[];
};

/** The edge. Throws INTERNAL naming both states where there is none: whoever asked for it has a mistake. */
export function transition<State extends string>(
  machine: StateMachine<State>,
  from: State,
  to: State,
): Edge<State> {
  const edge = machine.edges.find((one) => one.from === from && one.to === to);
  if (edge !== undefined) return edge;
  throw new FarmError('INTERNAL', `a ${machine.name} cannot go from ${from} to ${to}`, {
    kept: 'nothing was changed',
  });
}

/** The states that lead to this one: for statements that move many rows at once. */
export function sourcesOf<State extends string>(machine: StateMachine<State>, to: State): State[] {
  return machine.edges.filter((edge) => edge.to === to).map((edge) => edge.from);
}

/** The names of a machine's states. */
export function statesOf<State extends string>(machine: StateMachine<State>): State[] {
  return Object.keys(machine.states) as State[];
}
