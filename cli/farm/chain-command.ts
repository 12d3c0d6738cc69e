/** `tessera chain`: the embedded chain alone, for a farm whose programs run apart. */

import { startAnvil } from '../../platform/chain/embedded.ts';
import { prepareStateFile } from '../../platform/chain/state-file.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Terminal } from '../terminal.ts';

export type ChainOptions = { state: string; port: string; host: string };

/** Runs until Ctrl-C, or until the chain ends. Refuses to start without the state that `tessera setup` made. */
export async function chainCommand({ state, port, host }: ChainOptions, terminal: Terminal): Promise<void> {
  const found = await prepareStateFile(state);
  if (found === 'new' || found === 'lost')
    throw new FarmError(
      'USAGE',
      found === 'new'
        ? `there is no chain in ${state}; \`tessera setup\` makes one`
        : `the chain in ${state} cannot be read, nor its copy; restore both from the backup`,
      { kept: 'nothing was started' },
    );
  const chain = await startAnvil({ stateFile: state, port: Number(port), host, signal: terminal.signal });
  terminal.say(`the chain answers on ${host}:${chain.port}`);
  await chain.exited;
  if (!terminal.signal.aborted) throw new FarmError('CHAIN_UNAVAILABLE', 'the chain ended');
}
