/**
 * A node that plays one of {@link CHEATS}, by name: its second argument. On every task, or on the share of them that is
 * the third, chosen by the fourth.
 */
import { readConfigFile, runProgram } from '../../platform/process/run-program.ts';
import { workerFileSchema } from '../../worker/config.ts';
import { runWorker } from '../../worker/run.ts';
import { cheatingRuntime } from './cheating-runtime.ts';
import { type Cheat, cheatNamed, isFaked } from './cheats.ts';

await runProgram(async (life) => {
  const { config, secrets } = await readConfigFile(workerFileSchema, process.argv[2]);
  const [name = '', share, seed = ''] = process.argv.slice(3);
  const always = cheatNamed(name);
  const sometimes = { seed, share: Number(share) };
  const cheat: Cheat = share === undefined ? always : { ...always, only: (task) => isFaked(task, sometimes) };
  await runWorker(config, secrets, life, (honest) => cheatingRuntime(honest, cheat, config.blenderPath));
});
