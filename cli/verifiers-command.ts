/** `tessera verifiers`: who checks, what it has at stake, and who was caught. */
import { toJson } from '../platform/json.ts';
import type { VerifierView } from '../protocol/verifier.ts';
import type { FarmClient } from './farm-client.ts';
import { formatTokens } from './render/parse-options.ts';
import type { Terminal } from './terminal.ts';

export async function verifiersCommand(
  { json }: { json?: boolean },
  client: Pick<FarmClient, 'verifiers'>,
  terminal: Pick<Terminal, 'signal' | 'result'>,
): Promise<void> {
  const verifiers = await client.verifiers(terminal.signal);
  if (json) return terminal.result(toJson({ verifiers }));
  for (const verifier of verifiers) for (const line of linesOf(verifier)) terminal.result(line);
}

function linesOf({ id, state, words, stake, canaries, caught }: VerifierView): string[] {
  const said = `passed ${words.pass}, failed ${words.fail}, unclear ${words.inconclusive}`;
  const known = `canaries ${canaries.answered}, wrong ${canaries.caught}`;
  const lines = [`${id.padEnd(12)} ${state.padEnd(7)} ${said}  ${known}  stake ${formatTokens(stake)} TESS`];
  if (caught !== null)
    lines.push(
      `             caught on ${caught.batch}: ${caught.reason} (see tessera evidence ${caught.batch})`,
    );
  return lines;
}
