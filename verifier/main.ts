/** A verifier's process: `node verifier/main.js CONFIG.json`. */
import { readConfigFile, runProgram } from '../platform/process/run-program.ts';
import { verifierFileSchema } from './config.ts';
import { runVerifier } from './run.ts';

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(verifierFileSchema, process.argv[2]);
  await runVerifier(config, secrets, life);
});
