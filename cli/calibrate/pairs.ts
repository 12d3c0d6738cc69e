/** Who may check whom, and by which limits. Pure. */
import { THRESHOLDS } from '../../proof/thresholds.ts';
import type { ThresholdsName } from '../../protocol/verdict.ts';

/** A verification class: what decides on which pixels come out. */
export type ClassName = { engine: string; version: string; deviceClass: string };
/** The claim is of the one, the reference that it is compared with of the other. */
export type Pair<T = ClassName> = { claim: T; reference: T };

/**
 * Every class with itself and with every other of the same Blender, both ways. Never across versions of Blender: each
 * has noise of its own, so nothing matches and nothing is learnt.
 */
export function pairsOf<T extends { version: string }>(classes: readonly T[]): Pair<T>[] {
  return classes.flatMap((claim) =>
    classes
      .filter((reference) => reference.version === claim.version)
      .map((reference) => ({ claim, reference })),
  );
}

/** What to judge by while nothing better is known: the limits of two CPUs are the wider ones. */
export function limitsOrWidest(name: ThresholdsName | null) {
  return THRESHOLDS[name ?? 'otherCpuClass'];
}
