/** One of three message servers dies; a while later it is back, and another one dies. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { farmFolder, natsKeysFile } from '../../cli/farm/data-folder.ts';
import { loadAuthority } from '../../platform/nats/authority.ts';
import { pause } from '../../platform/wait.ts';
import { startNatsCluster } from '../support/nats-cluster.ts';
import { testFault } from './repeat.ts';

const { signal: never } = new AbortController();
/** Longer than the servers need to find that it is gone, and longer than a job. */
const GONE_MS = 15_000;

testFault('loss of one message server of three', async (folder) => {
  const data = farmFolder(join(folder, 'data'));
  await mkdir(data.root);
  const cluster = await startNatsCluster(join(folder, 'servers'), await loadAuthority(natsKeysFile(data)));
  let healing = Promise.resolve();
  return {
    options: { natsUrl: cluster.url, natsReplicas: 3 },
    fault: {
      signOfLife: (event) => event.type === 'task.delivered' || event.type === 'batch.settled',
      async strike(_farm, random) {
        await healing;
        const victim = Math.floor(random() * cluster.urls.length);
        await cluster.kill(victim);
        const atMs = Date.now();
        healing = pause(GONE_MS, never).then(() => cluster.startAgain(victim));
        return atMs;
      },
    },
    [Symbol.asyncDispose]: async () => {
      await healing;
      await cluster[Symbol.asyncDispose]();
    },
  };
});
