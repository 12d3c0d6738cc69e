/** What the demo says at the end, made of what the farm says. Pure. */
import { formatTokens } from '../cli/render/parse-options.ts';
import { THRESHOLDS } from '../proof/thresholds.ts';
import type { JobView, NodeView } from '../protocol/job.ts';
import type { BatchView, Comparison } from '../protocol/verdict.ts';
import type { VerifierView } from '../protocol/verifier.ts';

export type DemoResult = {
  jobs: { job: JobView; pictures: string[]; batches: BatchView[] }[];
  nodes: NodeView[];
  /** The node that cheats; empty where it is none. */
  cheat: string;
  verifiers: VerifierView[];
  seconds: number;
};

/** One caught batch: whose, in which job, what it was worth, and the clearest of what the verifier found. */
type Catch = {
  nodeId: string;
  job: string;
  receipts: number;
  amount: bigint;
  drawn: number;
  comparison: Comparison;
  /** Who found the same, and what that cost. */
  verdicts: BatchView['verdicts'];
  slashed: bigint;
};

export function catches(result: Pick<DemoResult, 'jobs'>): Catch[] {
  return result.jobs.flatMap(({ job, batches }) =>
    batches.flatMap(({ nodeId, receipts, amount, evidence, verdicts, slashed }) => {
      const failed = (evidence?.comparisons ?? []).filter((one) => one.outcome === 'fail');
      failed.sort((a, b) => (a.pixelMatchFraction ?? 0) - (b.pixelMatchFraction ?? 0));
      const [comparison] = failed;
      if (comparison === undefined) return [];
      const drawn = evidence?.comparisons.length ?? 0;
      return [
        {
          ...{ nodeId, job: job.name, receipts, amount: BigInt(amount), drawn, comparison, verdicts },
          slashed: BigInt(slashed),
        },
      ];
    }),
  );
}

export function summary(result: DemoResult): string {
  const lines: string[] = ['', 'Pictures'];
  for (const { pictures } of result.jobs) for (const picture of pictures) lines.push(`  ${picture}`);
  lines.push('', 'Nodes', `  ${row(['', 'tasks paid', 'forfeited', 'earned', 'stake lost'])}`);
  for (const node of result.nodes) {
    const name = node.id === result.cheat ? `${node.id} (cheat)` : node.id;
    const cells = [
      name,
      String(node.tasksVerified),
      String(node.tasksForfeited),
      `${formatTokens(node.earned)} TESS`,
      `${formatTokens(node.slashed)} TESS`,
    ];
    lines.push(`  ${row(cells)}`);
  }
  lines.push('', 'Caught');
  const caught = catches(result);
  for (const one of caught) lines.push(...describeCatch(one));
  const liars = result.verifiers.flatMap(({ id, canaries, caught: last }) =>
    last === null ? [] : [`  ${id} at ${canaries.caught} of ${canaries.answered} canaries: ${last.reason}`],
  );
  lines.push(...liars);
  if (caught.length + liars.length === 0)
    lines.push(
      '  nobody: of what was drawn no crop was wrong. A cheat that changes no pixel saves nothing, either',
    );
  lines.push('', 'Escrow', `  ${row(['', 'deposited', 'paid', 'refunded'])}`);
  for (const { job } of result.jobs) {
    lines.push(
      `  ${row([job.name, formatTokens(job.quote), formatTokens(job.spent), formatTokens(job.refunded)])}`,
    );
  }
  lines.push('', `${result.seconds.toFixed(0)} s from submission to settlement`, '');
  return lines.join('\n');
}

function describeCatch({ nodeId, job, receipts, amount, drawn, comparison, ...found }: Catch): string[] {
  const { frame, rect, crop, decidedBy, pixelMatchFraction, perceptualHashDistance } = comparison;
  const lines = [
    `  ${nodeId} at ${job}, frame ${frame}, tile ${place(rect)}; drawn crop ${place(crop)}`,
    `    ${receipts} results forfeited after ${drawn} were drawn: ${formatTokens(amount)} TESS not paid, the tiles rendered again by others`,
  ];
  const words = found.verdicts.map(({ verifier, outcome }) => `${verifier}: ${outcome}`);
  if (words.length > 0)
    lines.push(`    ${words.join(', ')}; ${formatTokens(found.slashed)} TESS of its stake lost`);
  if (pixelMatchFraction === null) lines.push(`    ${comparison.reason}  <- caught by ${decidedBy}`);
  else {
    const [found, needed] = [pixelMatchFraction, THRESHOLDS.sameClass.passFraction].map(
      (share) => `${(share * 100).toFixed(1)} %`,
    );
    const mark = decidedBy === 'pixelMatch' ? '  <- caught by this test' : '';
    lines.push(`    pixel match       ${found} where ${needed} are needed${mark}`);
  }
  if (perceptualHashDistance !== null) {
    const says = comparison.perceptualHashAloneWouldPay
      ? 'alone it would have paid'
      : 'it would have noticed, too';
    lines.push(`    perceptual hash   distance ${perceptualHashDistance} of 64: ${says}`);
  }
  return lines;
}

function place(rect: { x: number; y: number; width: number; height: number }): string {
  return `${rect.width}x${rect.height} at ${rect.x},${rect.y}`;
}

/** Columns of the two tables: a name, then numbers to the right. */
function row(cells: string[]): string {
  return cells.map((cell, index) => (index === 0 ? cell.padEnd(18) : cell.padStart(15))).join('');
}
