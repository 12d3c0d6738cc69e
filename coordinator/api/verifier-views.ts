/** The verifiers of this farm: what they have at stake, what they said, and how they did on canaries. */
import { sql } from 'kysely';
import type { Address, BatchId, JobId } from '../../protocol/ids.ts';
import type { VerifierView } from '../../protocol/verifier.ts';
import type { CoordinatorContext } from '../context.ts';

type Counts = {
  verifier: Address;
  pass: number;
  fail: number;
  inconclusive: number;
  canaries: number;
  canaries_caught: number;
};
type Last = { verifier: Address; reason: string; batch: BatchId; beside: JobId; at: Date };

export async function verifierViews({
  chain,
  clock,
  config,
  db,
}: CoordinatorContext): Promise<VerifierView[]> {
  const { rows: counts } = await sql<Counts>`
    select v.verifier, count(*) filter (where v.outcome = 'pass')::int as pass,
           count(*) filter (where v.outcome = 'fail')::int as fail,
           count(*) filter (where v.outcome = 'inconclusive')::int as inconclusive,
           count(c.batch_id) filter (where v.outcome is not null)::int as canaries,
           count(v.caught)::int as canaries_caught
    from verdicts v left join canaries c on c.batch_id = v.batch_id group by v.verifier`.execute(db);
  const { rows: lasts } = await sql<Last>`
    select distinct on (v.verifier) v.verifier, v.caught as reason, v.batch_id as batch, v.caught_at as at,
                                    b.job_id as beside
    from verdicts v join canaries c on c.batch_id = v.batch_id join batches b on b.id = c.beside
    where v.caught is not null order by v.verifier, v.caught_at desc`.execute(db);
  const active = await chain.verifiers();
  const views: VerifierView[] = [];
  for (const { id, address } of config.verifiers) {
    const said = counts.find(({ verifier }) => verifier === address);
    const last = lasts.find(({ verifier }) => verifier === address);
    const operator = await chain.verifierOperator(address);
    const silenced = last !== undefined && last.at.getTime() + config.quarantineMs > clock.now();
    views.push({
      ...{ id, address, operator },
      stake: operator === null ? 0n : (await chain.operator(operator)).stake,
      state: !active.includes(address) ? 'left' : silenced ? 'caught' : 'active',
      words: { pass: said?.pass ?? 0, fail: said?.fail ?? 0, inconclusive: said?.inconclusive ?? 0 },
      canaries: { answered: said?.canaries ?? 0, caught: said?.canaries_caught ?? 0 },
      caught: last === undefined ? null : caughtOf(last),
    });
  }
  return views;
}

function caughtOf({ batch, beside, reason, at }: Last): VerifierView['caught'] {
  return { batch, beside, reason, atMs: at.getTime() };
}
