/**
 * What a verifier could say in place of what it found, and gain by it: each as data, so that every test plays the same
 * ones. None of them renders anything.
 */
import type { Outcome } from '../../protocol/verdict.ts';

export type LyingVerifier = {
  name: string;
  /** After "a verifier that". */
  says: string;
  /** Its word on a batch, given what an honest one would find and whether the node is its friend or its rival. */
  word: (found: Outcome, node: 'friend' | 'rival' | 'stranger') => Outcome;
};

export const LYING_VERIFIERS = {
  lazy: {
    name: 'lazy',
    says: 'passes everything without looking',
    word: () => 'pass',
  },
  accuser: {
    name: 'accuser',
    says: 'fails whatever a rival rendered',
    word: (found, node) => (node === 'rival' ? 'fail' : found),
  },
  colluder: {
    name: 'colluder',
    says: 'passes whatever a friend delivered',
    word: (found, node) => (node === 'friend' ? 'pass' : found),
  },
} as const satisfies Record<string, LyingVerifier>;
