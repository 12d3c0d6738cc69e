import type { StateMachine } from './machine.ts';

export type StakeState = 'bonded' | 'thawing' | 'withdrawn' | 'slashed';

/** Of each unit of an operator's stake. */
export const STAKE_MACHINE: StateMachine<StakeState> = {
  name: 'stake',
  table: null,
  kept: 'Kept by the registry, as two amounts of each operator: any part of a stake can be in any of these.',
  states: {
    bonded: 'It answers for the batches and the words of its operator.',
    thawing: 'It is on its way out, and answers until its time is over.',
    withdrawn: 'It is with its operator again.',
    slashed: 'It is lost: half is burnt, half goes to those who were wronged.',
  },
  initial: ['bonded'],
  final: ['withdrawn', 'slashed'],
  edges: [
    { from: 'bonded', to: 'thawing', events: ['Thawing'], reason: 'its operator wants it back' },
    {
      from: 'thawing',
      to: 'withdrawn',
      events: ['Unstaked'],
      reason: 'all that it could answer for is over',
    },
    {
      from: 'bonded',
      to: 'slashed',
      events: ['Slashed'],
      reason: 'a batch failed, a verifier was wrong or silent, or let its time to draw pass',
    },
    { from: 'thawing', to: 'slashed', events: ['Slashed'], reason: 'what was bonded did not suffice' },
  ],
};
