/** kill -9 of each process of a farm, its database server included. */
import { startPostgres } from '../support/postgres.ts';
import { kill } from './processes.ts';
import { type Fault, testFault } from './repeat.ts';

/** Of whom what shows that it is back, or that the others go on. */
const SIGNS: Record<string, Fault['signOfLife']> = {
  'node-1': (event) => event.type === 'task.leased' && event.nodeId === 'node-1',
  coordinator: (event) => event.type === 'task.delivered' || event.type === 'batch.settled',
  'verifier-1': (event) => event.type === 'batch.settled',
  'nats-server': (event) => event.type === 'task.delivered' || event.type === 'batch.settled',
  chain: (event) => event.type === 'batch.settled',
};
const NAMES = Object.keys(SIGNS);

for (const [name, signOfLife] of Object.entries(SIGNS)) {
  testFault(`kill -9 of ${name}`, async () => ({
    fault: { signOfLife, strike: (farm) => kill(farm, name) },
    [Symbol.asyncDispose]: async () => undefined,
  }));
}

testFault('kill -9 of any two of them', async () => ({
  fault: {
    signOfLife: (event) => event.type === 'task.delivered' || event.type === 'batch.settled',
    async strike(farm, random) {
      const first = Math.floor(random() * NAMES.length);
      const second = (first + 1 + Math.floor(random() * (NAMES.length - 1))) % NAMES.length;
      const times = [first, second].map((index) => kill(farm, NAMES[index] ?? 'coordinator'));
      return Math.max(...(await Promise.all(times)));
    },
  },
  [Symbol.asyncDispose]: async () => undefined,
}));

testFault('kill -9 of postgres', async () => {
  const postgres = await startPostgres();
  return {
    options: { databaseUrl: await postgres.createDatabase() },
    fault: {
      signOfLife: (event) => event.type === 'task.delivered' || event.type === 'batch.settled',
      async strike() {
        await postgres.kill();
        const atMs = Date.now();
        await postgres.startAgain();
        return atMs;
      },
    },
    [Symbol.asyncDispose]: () => postgres[Symbol.asyncDispose](),
  };
});
