/** A node's process: `node worker/main.js CONFIG.json`. */
import { readConfigFile, runProgram } from '../platform/process/run-program.ts';
import { workerFileSchema } from './config.ts';
import { runWorker } from './run.ts';

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(workerFileSchema, process.argv[2]);
  await runWorker(config, secrets, life);
});
