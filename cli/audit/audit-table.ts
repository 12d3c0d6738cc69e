/** An audit as a person reads it. */
import type { AppealView, Comparison } from '../../protocol/verdict.ts';
import type { Finding } from './books.ts';
import type { Audited } from './render-again.ts';
import type { Replayed } from './replay.ts';

const WHAT_WIDTH = 10;

export function findingLine({ what, holds, detail }: Finding): string {
  return `${holds ? 'ok    ' : 'FAILED'} ${what.padEnd(WHAT_WIDTH)} ${detail}`;
}

/** One row of a tile or frame that was rendered again; as wide as {@link AUDIT_HEAD}. */
export function auditLine({ receipt, outcome, reason, pixelMatchFraction }: Audited): string {
  const { kind, frame, rect, node } = receipt;
  const match = pixelMatchFraction === null ? '-' : `${(100 * pixelMatchFraction).toFixed(2)} %`;
  const cells = [
    OUTCOME_WORDS[outcome],
    String(frame).padStart(5),
    kind.padEnd(6),
    `${rect.x},${rect.y} ${rect.width}x${rect.height}`.padEnd(20),
    `${node.slice(0, NODE_SHOWN)}…`,
    match.padStart(8),
    reason,
  ];
  return cells.join('  ').trimEnd();
}

/** An address is told apart by its first digits. */
const NODE_SHOWN = 10;
const OUTCOME_WORDS = { pass: 'ok    ', fail: 'FAILED', inconclusive: 'unsure' } as const;

export const AUDIT_HEAD = [
  '      ',
  'frame',
  'kind  ',
  'at, size            ',
  'node       ',
  '  pixels',
  'found',
].join('  ');

/** One comparison of a bundle: what was found, taken again from its pixels, and rendered here. */
export type Looked = { comparison: Comparison; replayed: Replayed; rendered: Replayed | null };

export function evidenceLine({ comparison, replayed, rendered }: Looked): string {
  const { frame, kind, crop, outcome, decidedBy, pixelMatchFraction, perceptualHashDistance } = comparison;
  const holds = replayed.holds && rendered?.holds !== false;
  const match = pixelMatchFraction === null ? '-' : `${(100 * pixelMatchFraction).toFixed(2)} %`;
  const cells = [
    holds ? 'ok    ' : 'FAILED',
    String(frame).padStart(5),
    kind.padEnd(6),
    `${crop.x},${crop.y} ${crop.width}x${crop.height}`.padEnd(20),
    match.padStart(8),
    String(perceptualHashDistance ?? '-').padStart(4),
    `${outcome} by ${decidedBy}`.padEnd(24),
    rendered === null ? replayed.detail : `${replayed.detail}; ${rendered.detail}`,
  ];
  return cells.join('  ').trimEnd();
}

export const EVIDENCE_HEAD = [
  '      ',
  'frame',
  'kind  ',
  'crop at, size       ',
  '  pixels',
  'hash',
  'verdict                 ',
  'taken again',
].join('  ');

/** What the node had to say to a fail. */
export function appealLine({ appeals, reason, refused }: AppealView): string {
  if (!appeals) return `the node did not appeal: ${reason}`;
  return refused === null
    ? `the node appealed: ${reason}`
    : `the node appealed, and the escrow took it not: ${refused}`;
}
