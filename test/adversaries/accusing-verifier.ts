/** A verifier that fails whatever its rival delivered, the node that its second argument names, and is honest else. */
import { readConfigFile, runProgram } from '../../platform/process/run-program.ts';
import { checkChallenge } from '../../verifier/check-challenge.ts';
import { verifierFileSchema } from '../../verifier/config.ts';
import { runVerifier } from '../../verifier/run.ts';
import { sayUnlooked } from './unlooked.ts';

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(verifierFileSchema, process.argv[2]);
  const rival = process.argv[3];
  await runVerifier(config, secrets, life, (challenge, ports) =>
    challenge.nodeId === rival ? sayUnlooked('fail', challenge, ports) : checkChallenge(challenge, ports),
  );
});
