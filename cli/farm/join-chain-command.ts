/** `tessera join-chain`: the farm's own verifiers stake and join on a chain that is there already. */
import { type Joined, joinVerifiers } from '../../platform/chain/join-verifiers.ts';
import { journalFileIn } from '../../platform/chain/public-chain.ts';
import { coinText, gasMoneyOf, requireContracts } from '../../platform/chain/require-contracts.ts';
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { FarmError } from '../../protocol/errors.ts';
import { formatTokens } from '../render/parse-options.ts';
import type { Terminal } from '../terminal.ts';
import { farmFolder, leaveFolder, loadSecrets, makeFolders, takeFolder } from './data-folder.ts';
import { OWN_VERIFIERS, verifierSecrets } from './members.ts';
import { type PublicChainOptions, publicChain } from './public-chain.ts';
import { requireSameChain, sendingKey } from './require-chain.ts';

export type JoinChainOptions = PublicChainOptions & { data: string; dryRun?: boolean; json?: boolean };

/** Throws CHAIN_NOT_READY at the end where an operator's account has too little of the token; the others have joined. */
export async function joinChainCommand(options: JoinChainOptions, terminal: Terminal): Promise<void> {
  const { environment, signal } = terminal;
  const chain = await publicChain(options, environment);
  if (chain === undefined)
    throw new FarmError('USAGE', 'name the chain with --contracts and --chain-url (TESSERA_CHAIN_URL)', {
      kept: 'nothing was sent',
    });
  const { url, deployment, confirmations } = chain;
  const folder = farmFolder(options.data);
  await requireSameChain(folder, deployment);
  await makeFolders(folder);
  const dryRun = options.dryRun === true;
  // A farm that runs sends with the same key: of its nonces each would take the other's.
  if (!dryRun) await takeFolder(folder, null);
  try {
    const ids = OWN_VERIFIERS.map(({ id }) => id);
    const secrets = await loadSecrets(folder, [], ids);
    const key = sendingKey(secrets, chain);
    const coordinator = addressOf(key as string as PrivateKey);
    await requireContracts(url, deployment, coordinator, signal);
    const gas = await gasMoneyOf(url, coordinator, signal);
    terminal.say(`the coordinator ${coordinator} has ${coinText(gas)} of the chain's coin for gas`);
    const joined = await joinVerifiers({
      ...{ url, deployment, confirmations, signal },
      coordinatorKey: key as string as PrivateKey,
      journalFile: journalFileIn(folder.coordinator),
      verifiers: ids.map((id) => {
        const { key: verifierKey, operatorKey, head } = verifierSecrets(secrets, id);
        return {
          ...{ id, head },
          verifierKey: verifierKey as string as PrivateKey,
          operatorKey: operatorKey as string as PrivateKey,
        };
      }),
      dryRun,
      onNotice: (notice) => terminal.say(notice),
    });
    if (options.json) terminal.result(toJson({ verifiers: joined }));
    else for (const one of joined) terminal.result(joinedLine(one));
    requireNothingMissing(joined);
  } finally {
    if (!dryRun) await leaveFolder(folder);
  }
}

/** One line for people: what was done, and what comes next. */
export function joinedLine(joined: Joined): string {
  const { id, stake, balance, sent } = joined;
  const has = `${id}: ${formatTokens(stake)} TESS staked, ${formatTokens(balance)} TESS in its operator's account`;
  const did = sent.length === 0 ? '' : `; sent now: ${sent.join(', ')}`;
  return `${has}${did}; ${nextStep(joined)}`;
}

function nextStep({ plan, activeFrom, sent, held }: Joined): string {
  if (plan.next === 'nothing' || sent.includes('activate')) return 'it is in the list';
  if (plan.missing > 0n) return `it lacks ${formatTokens(plan.missing)} TESS to stake`;
  if (held) return 'it has left the list, and its place is kept for 8192 blocks: run this again after them';
  if (plan.next === 'join' && !sent.includes('join'))
    return `it would stake ${formatTokens(plan.toStake)} TESS and join`;
  if (plan.next === 'activate') return 'it can be activated now';
  const from = activeFrom === null ? 'later' : `from ${new Date(activeFrom * 1_000).toISOString()} on`;
  return `it can be activated ${from}: run this again then`;
}

function requireNothingMissing(joined: readonly Joined[]): void {
  const poor = joined.filter(({ plan }) => plan.missing > 0n);
  if (poor.length === 0) return;
  const wants = poor.map(
    ({ id, operator, plan }) => `${operator} (${id}) lacks ${formatTokens(plan.missing)} TESS`,
  );
  throw new FarmError('CHAIN_NOT_READY', wants.join('; '), {
    kept: 'What is said as sent is done. Send the token there and run this again: nothing is done twice.',
    details: Object.fromEntries(poor.map(({ operator, plan }) => [operator, plan.missing.toString()])),
  });
}
