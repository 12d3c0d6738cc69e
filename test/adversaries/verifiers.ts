/**
 * What a verifier could say in place of what it found, and gain by it: each as data, so that every test plays the same
 * ones (lying-verifier.ts is the program).
 */
import type { Outcome } from '../../protocol/verdict.ts';

type Relation = 'friend' | 'rival' | 'stranger';

export type LyingVerifier = {
  name: string;
  /** After "a verifier that". */
  says: string;
  /** What the nodes are to it that it treats otherwise. */
  relation: Relation;
  /** Its word on a batch, given what an honest one would find and what the node is to it. */
  word: (found: Outcome, node: Relation) => Outcome;
};

export const LYING_VERIFIERS = {
  lazy: {
    name: 'lazy',
    says: 'passes everything without looking',
    relation: 'stranger',
    word: () => 'pass',
  },
  accuser: {
    name: 'accuser',
    says: 'fails whatever a rival rendered',
    relation: 'rival',
    word: (found, node) => (node === 'rival' ? 'fail' : found),
  },
  colluder: {
    name: 'colluder',
    says: 'passes whatever a friend delivered',
    relation: 'friend',
    word: (found, node) => (node === 'friend' ? 'pass' : found),
  },
} as const satisfies Record<string, LyingVerifier>;

/** Throws for a name that is none. */
export function lyingVerifierNamed(name: string): LyingVerifier {
  const found = Object.values(LYING_VERIFIERS).find((one) => one.name === name);
  if (found === undefined) throw new Error(`no lying verifier is called ${name}`);
  return found;
}
