/**
 * A verifier that lies, by the name of one of {@link LYING_VERIFIERS}, with the names of its friends (colluder) or rivals
 * (accuser) among the nodes of this machine. Where its word does not hang on what is there it looks at nothing; about
 * everybody else it is honest.
 */
import { join } from 'node:path';
import { farmFolder, loadSecrets } from '../../cli/farm/data-folder.ts';
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import { readConfigFile, runProgram } from '../../platform/process/run-program.ts';
import type { Address } from '../../protocol/ids.ts';
import { checkChallenge } from '../../verifier/check-challenge.ts';
import { verifierFileSchema } from '../../verifier/config.ts';
import { runVerifier } from '../../verifier/run.ts';
import { sayUnlooked } from './unlooked.ts';
import { lyingVerifierNamed } from './verifiers.ts';

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(verifierFileSchema, process.argv[2]);
  const { word, relation } = lyingVerifierNamed(process.argv[3] ?? '');
  const meant = await addressesOf(process.argv.slice(4), join(config.dataFolder, '..', '..'));
  await runVerifier(config, secrets, life, async (challenge, ports) => {
    const node = meant.includes(ports.onChain.node) ? relation : 'stranger';
    const outcome = word('pass', node);
    if (outcome !== word('fail', node) || outcome === 'inconclusive')
      return await checkChallenge(challenge, ports);
    return await sayUnlooked(outcome, challenge, ports);
  });
});

/** Who they are on chain, where anybody could read it; here from the folder of the farm. */
async function addressesOf(nodes: readonly string[], farm: string): Promise<Address[]> {
  if (nodes.length === 0) return [];
  const { nodeKeys } = await loadSecrets(farmFolder(farm), nodes, []);
  return nodes.map((id) => addressOf(nodeKeys[id] as string as PrivateKey));
}
