/** The coordinator's process: `node coordinator/main.js CONFIG.json`. */
import { z } from 'zod';
import { readConfigFile, runProgram } from '../platform/process/run-program.ts';
import { coordinatorConfigSchema, coordinatorSecretsSchema } from './config.ts';
import { runCoordinator } from './run.ts';

const fileSchema = z.strictObject({ config: coordinatorConfigSchema, secrets: coordinatorSecretsSchema });

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(fileSchema, process.argv[2]);
  await runCoordinator(config, secrets, life);
});
