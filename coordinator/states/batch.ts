import type { BatchState } from '../../platform/chain/chain.ts';
import type { StateMachine } from './machine.ts';

/** The contract's own: the tests hold it against what real contracts do (test/chain/escrow-properties.test.ts). */
export const BATCH_MACHINE: StateMachine<Exclude<BatchState, 'none'>> = {
  name: 'batch',
  table: null,
  kept: 'Kept by the escrow. `batches.state` follows it, and is `open` and `closed` before there is anything on chain.',
  states: {
    committed: 'Root and price are on chain, under the signature of its node; its price is reserved.',
    drawn: 'What is checked is known; one verifier is asked.',
    second: 'The first word was no pass: a verifier of another operator is asked.',
    committee: 'Two words contradict each other, or somebody disputes: up to five others are asked.',
    judged: 'There is an outcome; until the dispute window is over it can be disputed.',
    settled: 'Its money has moved.',
    expired: 'Nobody judged it in time; its money is free again.',
  },
  initial: ['committed'],
  final: ['settled', 'expired'],
  edges: [
    { from: 'committed', to: 'drawn', events: ['Drawn'], reason: 'its drawer told a secret' },
    {
      from: 'drawn',
      to: 'judged',
      events: ['Judged'],
      reason: 'the first verifier passed it, or nobody else could be asked',
    },
    { from: 'drawn', to: 'second', events: ['Attested'], reason: 'the first verifier did not pass it' },
    { from: 'second', to: 'judged', events: ['Judged'], reason: 'the two do not contradict each other' },
    {
      from: 'second',
      to: 'committee',
      events: ['CommitteeCalled'],
      reason: 'one failed it and the other passed it',
    },
    {
      from: 'judged',
      to: 'committee',
      events: ['CommitteeCalled'],
      reason: 'somebody put a bond on a dispute',
    },
    {
      from: 'committee',
      to: 'judged',
      events: ['Judged'],
      reason: 'more than half of the members agree, or their time is over',
    },
    {
      from: 'judged',
      to: 'settled',
      events: ['Settled'],
      reason: 'nobody disputed it in time, or a committee spoke',
    },
    { from: 'committed', to: 'expired', events: ['Expired'], reason: 'no secret came in seven days' },
    { from: 'drawn', to: 'expired', events: ['Expired'], reason: 'no word came in seven days' },
    { from: 'second', to: 'expired', events: ['Expired'], reason: 'no second word came in seven days' },
  ],
};
