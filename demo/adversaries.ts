/** Who cheats in the demo, by name: what is started in whose place. */
import { join } from 'node:path';
import type { FarmOptions } from '../cli/farm/start-farm.ts';
import { CHEATS } from '../test/adversaries/cheats.ts';

export type Adversary = {
  name: string;
  /** A sentence about it. */
  says: string;
  /** What the farm is started with in place of three nodes and two verifiers that are honest. */
  farm: Pick<FarmOptions, 'nodes'> & Pick<FarmOptions, 'verifiers' | 'canaryShare' | 'handOverMs'>;
};

/** The node that cheats, where it is a node. */
export const CHEAT = 'node-3';

const HONEST = [{ id: 'node-1' }, { id: 'node-2' }];

/** Long enough for an honest node of this machine. */
const HAND_OVER_MS = 10_000;

/** `programs`: the folder of the built adversaries. */
export function adversaries(programs: string): Adversary[] {
  const program = (name: string): string => join(programs, `${name}.js`);
  const node = (name: string, ...parameters: string[]): Adversary['farm'] => ({
    nodes: [...HONEST, { id: CHEAT, entry: program(name), arguments: parameters }],
    // What the demo shows is what it says, every time.
    canaryShare: 0,
  });
  return [
    ...CHEATS.map(({ name, says }) => ({
      name,
      says: `${CHEAT} ${says}, and claims what was asked for`,
      farm: node('picture-cheat', name),
    })),
    {
      name: 'withheld',
      says: `${CHEAT} throws away the frames that it promised to keep until they are checked`,
      farm: { ...node('withheld'), handOverMs: HAND_OVER_MS },
    },
    {
      name: 'lazy-verifier',
      says: 'verifier-1 passes everything without looking; beside every batch a canary is planted',
      farm: {
        nodes: [...HONEST, { id: CHEAT }],
        verifiers: [
          { id: 'verifier-1', entry: program('lying-verifier'), arguments: ['lazy'] },
          // Enough for a committee.
          ...[2, 3, 4, 5].map((nth) => ({ id: `verifier-${nth}` })),
        ],
        canaryShare: 1,
      },
    },
  ];
}
