/**
 * A farm on a chain that is there already, as its operator lives it: addresses, contracts, money, verifiers, a paid job, and a
 * ledger that is exact. In truth anvil, with a block every second that nobody asked for.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { publicChain } from '../../cli/farm/public-chain.ts';
import type { Address } from '../../protocol/ids.ts';
import { type Proxy as ChainProxy, proxyTo } from '../chain/proxies.ts';
import { PUBLIC_CHAIN_ID, type PublicChain, startPublicChain } from '../chain/public-chain.ts';
import { deployedOn, type PublicContracts } from '../chain/public-contracts.ts';
import { chainOf } from '../support/chain-of.ts';
import { runCommand } from '../support/command.ts';
import { sample, startTestFarm, type TestFarm } from '../support/farm.ts';

const TESS = 1_000_000n;
/** The public terms want 100, and a penalty of 10 on top. */
const STAKE = 110n * TESS;
/** For the farm's account: more than the job costs, and no more is ever made. */
const PURSE = 5n * TESS;
/** Behind the host, where providers put the key of an account. */
const SECRET = 'open-sesame';

describe('a farm on a chain that others run', { timeout: 600_000 }, () => {
  let folder: string;
  let data: string;
  let contractsFile: string;
  let environment: NodeJS.ProcessEnv;
  let on: PublicChain;
  let provider: ChainProxy;
  let contracts: PublicContracts;
  let addresses: {
    coordinator: Address;
    farm: Address;
    verifiers: { id: string; verifier: Address; operator: Address }[];
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-public-farm-'));
    [data, contractsFile] = [join(folder, 'farm'), join(folder, 'contracts.json')];
    on = await startPublicChain();
    provider = await proxyTo(on.url, {});
    environment = { TESSERA_CHAIN_URL: `${provider.url}/v2/${SECRET}` };
    const shown = await runCommand(['addresses', '--data', data, '--json']);
    expect(shown).toMatchObject({ code: 0 });
    addresses = JSON.parse(shown.stdout).addresses;
    const windows = { joinDelayS: 0, disputeWindowS: 0 };
    contracts = await deployedOn(on, addresses.coordinator, windows);
    await writeFile(contractsFile, JSON.stringify(contracts.deployment));
    await on.rpc.call('evm_setIntervalMining', [1]);
  });
  afterAll(async () => {
    await provider.close();
    await on.end();
    await rm(folder, { recursive: true, force: true });
  });

  const onChain = () => ['--data', data, '--contracts', contractsFile, '--confirmations', '1'];
  const start = async (): Promise<TestFarm> =>
    startTestFarm({
      dataFolder: data,
      nodes: [{ id: 'node-1' }],
      publicChain: await publicChain({ contracts: contractsFile, confirmations: '1' }, environment),
    });

  test('is refused before anything runs, until its verifiers are in the list', async () => {
    const early = await runCommand(['up', ...onChain(), '--port', '0'], environment);
    expect(early).toMatchObject({ code: 6, stderr: expect.stringContaining('CHAIN_NOT_READY') });
    expect(early.stderr).toContain('tessera join-chain');
    const poor = await runCommand(['join-chain', ...onChain()], environment);
    expect(poor).toMatchObject({ code: 6, stderr: expect.stringContaining('lacks 110.000 TESS') });
    for (const { operator } of addresses.verifiers) {
      expect(poor.stderr).toContain(operator);
      await contracts.give(operator, STAKE);
    }
    const joined = await runCommand(['join-chain', ...onChain(), '--json'], environment);
    expect(joined).toMatchObject({ code: 0 });
    expect(JSON.parse(joined.stdout).verifiers).toMatchObject(
      addresses.verifiers.map(({ id }) => ({ id, sent: ['stake', 'join', 'activate'] })),
    );
    for (const { stderr } of [early, poor, joined]) expect(stderr).not.toContain(SECRET);
  });

  test('renders, checks and pays with the token that it was given, and its ledger is exact', async () => {
    await using farm = await start();
    const tiles = { frames: [1], tiles: { columns: 2, rows: 1 }, samples: 2 };
    // Nobody makes money here: without any there is no job.
    await expect(farm.submit(sample('turntable'), tiles)).rejects.toMatchObject({ code: 'WALLET_EMPTY' });
    await contracts.give(addresses.farm, PURSE);
    const { id } = await farm.submit(sample('turntable'), tiles);
    const { files } = await farm.finish(id);
    expect(files).toHaveLength(1);
    await farm.event(id, (event) => event.type === 'job.closed');
    const job = await farm.client.job(id, new AbortController().signal);
    expect(job).toMatchObject({ state: 'completed', escrow: 'closed', spent: job.quote, refunded: 0n });
    const chain = await chainOf(farm);
    expect(chain.chainId).toBe(PUBLIC_CHAIN_ID);
    expect(await chain.tokenBalance(addresses.farm)).toBe(PURSE - job.spent);
    const node = (await farm.client.nodes(new AbortController().signal))[0] ?? expect.fail('no node');
    expect(node).toMatchObject({ id: 'node-1', earned: job.spent, stake: 0n });

    const ledger = await runCommand(['ledger', 'check', '--data', data], environment);
    expect(ledger).toMatchObject({ code: 0 });
    // Everything that the programs said, and what they were told apart from their secrets.
    for (const file of await readdir(farm.folder.log))
      expect(await readFile(join(farm.folder.log, file), 'utf8')).not.toContain(SECRET);
    const { config } = JSON.parse(await readFile(join(farm.folder.run, 'coordinator.json'), 'utf8'));
    expect(JSON.stringify(config)).not.toContain(SECRET);
  });

  test('goes on with the same folder, and on no other chain', async () => {
    const own = await runCommand(['up', '--data', data, '--port', '0']);
    expect(own).toMatchObject({ code: 2, stderr: expect.stringContaining(`chain ${PUBLIC_CHAIN_ID}`) });
    await using farm = await start();
    const [job] = await farm.client.allJobs(new AbortController().signal);
    expect(job).toMatchObject({ state: 'completed', escrow: 'closed' });
  });
});
