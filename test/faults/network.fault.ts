/** The network between a node and the rest of its farm is cut and healed: the node lives in a network namespace of its own. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { pause } from '../../platform/wait.ts';
import { testFault } from './repeat.ts';

const { signal: never } = new AbortController();
const run = promisify(execFile);
const ip = async (...words: string[]): Promise<void> => void (await run('ip', words));

/** From a blink, which TCP gets over by itself, to longer than a lease and the patience of the message client. */
const CUT_MS = { least: 500, most: 25_000 };

testFault('a cut network between a node and the farm', async () => {
  const name = `tessera-${process.pid}`;
  // Ends of one cable. Names of devices have 15 letters.
  const [farmEnd, nodeEnd] = [`tf${process.pid}`, `tn${process.pid}`];
  // Of a range for private use, by the number of this process: others may test beside it.
  const prefix = `10.213.${process.pid % 256}`;
  await ip('netns', 'add', name);
  const remove = async (): Promise<void> => {
    await ip('netns', 'del', name);
    await ip('link', 'del', farmEnd).catch(() => undefined);
  };
  try {
    await ip('link', 'add', farmEnd, 'type', 'veth', 'peer', 'name', nodeEnd, 'netns', name);
    await ip('addr', 'add', `${prefix}.1/30`, 'dev', farmEnd);
    await ip('link', 'set', farmEnd, 'up');
    await ip('-n', name, 'addr', 'add', `${prefix}.2/30`, 'dev', nodeEnd);
    await ip('-n', name, 'link', 'set', nodeEnd, 'up');
    await ip('-n', name, 'link', 'set', 'lo', 'up');
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    options: {
      host: `${prefix}.1`,
      through: (program) => (program === 'node-1' ? ['ip', 'netns', 'exec', name] : []),
    },
    fault: {
      signOfLife: (event) => event.type === 'task.leased' && event.nodeId === 'node-1',
      async strike(_farm, random) {
        await ip('link', 'set', farmEnd, 'down');
        // Short ones as often as long ones, which differ by a factor.
        await pause(CUT_MS.least * (CUT_MS.most / CUT_MS.least) ** random(), never);
        await ip('link', 'set', farmEnd, 'up');
        return Date.now();
      },
    },
    [Symbol.asyncDispose]: remove,
  };
});
