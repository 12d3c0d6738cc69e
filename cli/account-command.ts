/** `tessera account`: what an account may have and spend, and whose money its jobs are. */
import { toJson } from '../platform/json.ts';
import type { AccountChange, AccountView } from '../protocol/sharing.ts';
import type { FarmClient } from './farm-client.ts';
import { formatTokens, nameOf, parseAmount } from './render/parse-options.ts';
import type { Terminal } from './terminal.ts';

export type AccountOptions = {
  maxNodes?: string;
  capJob?: string;
  capTotal?: string;
  ownKey?: true;
  json?: boolean;
};

/** Checked before a farm is looked for. With no option at all it is --max-nodes that is lifted, as it always was. */
export function accountChange(
  text: string,
  options: AccountOptions,
): { name: string; change: AccountChange } {
  const { maxNodes, capJob, capTotal, ownKey } = options;
  const others = capJob !== undefined || capTotal !== undefined || ownKey === true;
  const change = {
    ...(maxNodes !== undefined && { maxNodes: Number(maxNodes) }),
    ...(maxNodes === undefined && !others && { maxNodes: null }),
    ...(capJob !== undefined && { capPerJob: capOf('--cap-job', capJob) }),
    ...(capTotal !== undefined && { capInAll: capOf('--cap-total', capTotal) }),
    ...(ownKey === true && { ownKey }),
  };
  return { name: nameOf('account', text), change };
}

export async function accountCommand(
  { name, change }: { name: string; change: AccountChange },
  { json }: AccountOptions,
  client: FarmClient,
  terminal: Terminal,
): Promise<void> {
  const account = await client.changeAccount(name, change, terminal.signal);
  if (json) return terminal.result(toJson({ account }));
  for (const line of accountLines(account)) terminal.say(line);
}

export function accountLines(account: AccountView): string[] {
  const { name, maxNodes, capPerJob, capInAll, address, spent, promised } = account;
  const most = (cap: bigint | null): string => (cap === null ? 'anything' : `${formatTokens(cap)} TESS`);
  return [
    `${name} may have ${maxNodes ?? 'any number of'} node(s) at once`,
    `it may spend ${most(capPerJob)} on a job, ${most(capInAll)} in all; ${formatTokens(spent)} TESS are spent, ${formatTokens(promised)} promised to open jobs`,
    address === null ? "its jobs are paid from the farm's account" : `its jobs are paid from ${address}`,
  ];
}

function capOf(option: string, text: string): bigint | null {
  return text === 'none' ? null : parseAmount(option, text);
}
