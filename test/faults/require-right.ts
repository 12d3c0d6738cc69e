/** Where all money and all stake has to be after a storm, from what is known of who was what, and from the terms. */
import { expect } from 'vitest';
import { readDeployment } from '../../cli/farm/data-folder.ts';
import { BURN_ADDRESS, booksOf } from '../../platform/chain/escrow-books.ts';
import { followEvents } from '../../platform/chain/follow-events.ts';
import { jsonRpc } from '../../platform/chain/json-rpc.ts';
import { jobKey } from '../../platform/chain/keys.ts';
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import type { Address } from '../../protocol/ids.ts';
import type { BatchView } from '../../protocol/verdict.ts';
import { isFaked } from '../adversaries/cheats.ts';
import { chainOf, chainUrlOf } from '../support/chain-of.ts';
import { runCommand } from '../support/command.ts';
import { requireKnownMoves } from '../support/known-moves.ts';
import { type Loss, lossesByTerms, type Why } from './losses.ts';
import { ABSENT, ACCUSER, CHEAT, CHEAT_SHARE, GONE, LAZY, type Storm, WITHHOLDER } from './storm.ts';

const { signal } = new AbortController();

export type Figures = {
  jobs: Record<string, number>;
  batches: { paid: number; failed: number; committees: number; disputed: number; wronglyPaid: number };
  losses: Record<string, string>;
  kills: number;
  jumps: number;
  blocks: number;
};

export async function requireRight(storm: Storm): Promise<Figures> {
  const { farm, jobs, batches } = storm;
  for (const job of jobs)
    expect(['completed', 'cancelled'], `${job.name}: ${job.reason}`).toContain(job.state);
  for (const batch of batches) expect(batch.state, batch.id).toBe('settled');
  await requireLedger(storm);

  const chain = await chainOf(farm);
  const deployment = (await readDeployment(farm.folder)) ?? expect.fail('no deployment');
  const follower = followEvents({
    ...{
      rpc: jsonRpc(await chainUrlOf(farm)),
      chainId: deployment.chainId,
      fromBlock: deployment.deployedBlock,
    },
    ...{ addresses: [deployment.escrowAddress, deployment.registryAddress], file: null, depth: 12 },
  });
  const upTo = await follower.advance(signal);
  requireKnownMoves(follower.logs());
  const books = booksOf(follower.logs(), deployment);

  // No money that is owed to nobody: what the contract says it owes is what it has, account by account.
  for (const job of jobs)
    expect(books.jobs.get(jobKey(job.id)), job.name).toMatchObject({
      state: 'closed',
      free: 0n,
      reserved: 0n,
    });
  let owed = 0n;
  for (const [owner, { credited, withdrawn }] of books.accounts) {
    const credit = await chain.credit(owner, signal);
    expect(credit, owner).toBe(credited - withdrawn);
    owed += credit;
  }
  expect(await chain.tokenBalance(deployment.escrowAddress, signal)).toBe(owed);

  // Every stake is what the terms leave of it, and the registry has no more and no less.
  const terms = await chain.terms(signal);
  const losses = lossesByTerms(follower.logs(), deployment, terms);
  let staked = 0n;
  for (const [operator, own] of books.stakes) {
    const lost = losses
      .filter((loss) => loss.operator === operator)
      .reduce((sum, { amount }) => sum + amount, 0n);
    const { stake, thawing } = await chain.operator(operator, signal);
    expect(stake + thawing, operator).toBe(own.staked - own.unstaked - lost);
    staked += stake + thawing;
  }
  expect(await chain.tokenBalance(deployment.registryAddress, signal)).toBe(staked);
  const burnt = losses.reduce((sum, { amount }) => sum + (amount - amount / 2n), 0n);
  expect(await chain.credit(BURN_ADDRESS, signal)).toBe(burnt);

  const roles = await rolesOf(storm);
  requireOnlyTheGuilty(losses, roles);
  const wronglyPaid = await requirePaidForWork(storm);
  requireFailedForCheats(storm);

  const committees = batches.filter(({ verdicts }) => verdicts.some(({ role }) => role === 'committee'));
  return {
    jobs: countBy(jobs.map(({ state }) => state)),
    batches: {
      paid: batches.filter(({ outcome }) => outcome === 'pass').length,
      failed: batches.filter(({ outcome, agreed }) => outcome === 'fail' && agreed).length,
      committees: committees.length,
      disputed: storm.doubted.size,
      wronglyPaid,
    },
    losses: Object.fromEntries(
      [...new Set(losses.map((loss) => `${roles.get(loss.operator)}: ${loss.why}`))].map((key) => {
        const own = losses.filter((loss) => `${roles.get(loss.operator)}: ${loss.why}` === key);
        return [key, `${own.length} times, ${own.reduce((sum, { amount }) => sum + amount, 0n)} units`];
      }),
    ),
    kills: storm.kills,
    jumps: storm.jumps,
    blocks: Number(upTo),
  };
}

/** The real command, as a stranger runs it. */
async function requireLedger({ farm }: Storm): Promise<void> {
  const checked = await runCommand(['ledger', 'check', '--json', '--farm', farm.apiUrl], {
    TESSERA_API_KEY: farm.apiKey,
  });
  expect(checked.code, checked.stdout + checked.stderr).toBe(0);
  const { findings } = JSON.parse(checked.stdout) as {
    findings: { what: string; holds: boolean; detail: string }[];
  };
  expect(findings.map(({ what }) => what)).toEqual(['jobs', 'batches', 'sums', 'escrow', 'stake']);
  for (const { holds, detail } of findings) {
    expect(holds, detail).toBe(true);
    // Nobody sends gifts here, so more than is owed would be a mistake, too.
    expect(detail).not.toContain('were sent to it');
  }
}

/** Whose stake each operator's is, by the names of the farm. */
async function rolesOf({ farm }: Storm): Promise<Map<Address, string>> {
  const roles = new Map<Address, string>();
  for (const { id, operator } of await farm.client.nodes(signal))
    if (operator !== null) roles.set(operator, id);
  for (const [id, key] of Object.entries(await farm.operatorKeys()))
    roles.set(addressOf(key as string as PrivateKey), id);
  return roles;
}

/** What each part is guilty of; of nothing, where it is not named. */
const GUILTY_OF: Record<string, readonly Why[]> = {
  [CHEAT]: ['failed batch'],
  [WITHHOLDER]: ['failed batch'],
  [GONE]: ['failed batch'],
  [LAZY]: ['wrong word'],
  [ACCUSER]: ['wrong word'],
  [ABSENT]: ['secret', 'silence'],
};

function requireOnlyTheGuilty(losses: readonly Loss[], roles: ReadonlyMap<Address, string>): void {
  const wrong = losses
    .map(({ operator, why, amount }) => ({ who: roles.get(operator) ?? operator, why, amount }))
    .filter(({ who, why }) => !(GUILTY_OF[who] ?? []).includes(why));
  expect(wrong).toEqual([]);
}

/** What was paid was rendered, but for what the lazy verifier looked at first and nobody doubted. Returns how often. */
async function requirePaidForWork({ farm, batches, seed }: Storm): Promise<number> {
  let wronglyPaid = 0;
  for (const batch of batches.filter(({ outcome }) => outcome === 'pass')) {
    const receipts = await farm.client.receipts(batch.jobId, batch.id, signal);
    expect(receipts, batch.id).toHaveLength(batch.receipts);
    const faked =
      batch.nodeId === CHEAT &&
      receipts.some((receipt) => receipt.kind !== 'finish' && isFaked(receipt, { seed, share: CHEAT_SHARE }));
    const withheld = batch.nodeId === WITHHOLDER && batch.kind === 'frame';
    if (!faked && !withheld) continue;
    wronglyPaid++;
    expect(deciding(batch), batch.id).toEqual([{ verifier: LAZY, outcome: 'pass' }]);
  }
  return wronglyPaid;
}

function deciding({ verdicts }: BatchView): { verifier: string; outcome: string }[] {
  return verdicts.map(({ verifier, outcome }) => ({ verifier, outcome }));
}

/** Whoever lost a batch's stake had faked or withheld something in it. */
function requireFailedForCheats({ batches, seed }: Storm): void {
  for (const batch of batches.filter(({ outcome, agreed }) => outcome === 'fail' && agreed)) {
    expect([CHEAT, WITHHOLDER, GONE], batch.id).toContain(batch.nodeId);
    if (batch.nodeId !== CHEAT) {
      expect(batch.kind, batch.id).toBe('frame');
      continue;
    }
    const failed = (batch.evidence?.comparisons ?? []).filter(({ outcome }) => outcome === 'fail');
    expect(failed.length, batch.id).toBeGreaterThan(0);
    for (const comparison of failed)
      expect(isFaked(comparison, { seed, share: CHEAT_SHARE }), batch.id).toBe(true);
  }
}

function countBy(all: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const one of all) counts[one] = (counts[one] ?? 0) + 1;
  return counts;
}
