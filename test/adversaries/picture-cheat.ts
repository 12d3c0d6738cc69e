/** A node that plays one of {@link CHEATS}, by name: its second argument. */
import { readConfigFile, runProgram } from '../../platform/process/run-program.ts';
import { workerFileSchema } from '../../worker/config.ts';
import { runWorker } from '../../worker/run.ts';
import { cheatingRuntime } from './cheating-runtime.ts';
import { cheatNamed } from './cheats.ts';

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(workerFileSchema, process.argv[2]);
  const cheat = cheatNamed(process.argv[3] ?? '');
  await runWorker(config, secrets, life, (honest) => cheatingRuntime(honest, cheat, config.blenderPath));
});
