/**
 * A verifier that is paid for looking and does not look: it commits to nothing that it rendered, and signs that every
 * drawn crop was equal in every bit.
 */
import { readConfigFile, runProgram } from '../../platform/process/run-program.ts';
import { verifierFileSchema } from '../../verifier/config.ts';
import { runVerifier } from '../../verifier/run.ts';
import { sayUnlooked } from './unlooked.ts';

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(verifierFileSchema, process.argv[2]);
  await runVerifier(config, secrets, life, (challenge, ports) => sayUnlooked('pass', challenge, ports));
});
