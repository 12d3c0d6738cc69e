import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { chainUrlOf } from '../../cli/audit/read-books.ts';
import { farmFolder, makeFolders, writeDeployment } from '../../cli/farm/data-folder.ts';
import { coordinatorKey, publicChain } from '../../cli/farm/public-chain.ts';
import { requireSameChain } from '../../cli/farm/require-chain.ts';
import type { Address } from '../../protocol/ids.ts';
import { tempFolder } from '../platform/temp-folder.ts';

const address = (digit: string): Address => `0x${digit.repeat(40)}` as Address;
const DEPLOYMENT = {
  chainId: 11_155_111,
  tokenAddress: address('1'),
  escrowAddress: address('2'),
  registryAddress: address('3'),
  deployedBlock: 7,
};
const URL_WITH_KEY = 'https://provider.example/v2/open-sesame';
const KEY = 'ab'.repeat(32);
const usage = (part: string) =>
  expect.objectContaining({ code: 'USAGE', message: expect.stringContaining(part) });

async function written(content: unknown) {
  const folder = await tempFolder();
  const file = join(folder.path, 'deployment.json');
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  return { file, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

describe('a chain that is there already', () => {
  it('is none where nobody named one', async () => {
    expect(await publicChain({}, {})).toBeUndefined();
    expect(await publicChain({}, { TESSERA_CHAIN_URL: '' })).toBeUndefined();
  });

  it('is what deploy-contracts wrote, without what is for people in it', async () => {
    await using made = await written({ ...DEPLOYMENT, managerAddress: address('4'), terms: {}, feeBps: 0 });
    const environment = {
      TESSERA_CHAIN_URL: URL_WITH_KEY,
      TESSERA_COORDINATOR_KEY: `0x${KEY.toUpperCase()}`,
    };
    expect(await publicChain({ contracts: made.file }, environment)).toEqual({
      ...{ url: URL_WITH_KEY, deployment: DEPLOYMENT, confirmations: 12, coordinatorKey: `0x${KEY}` },
    });
    const options = { contracts: made.file, chainUrl: 'http://localhost:8545', confirmations: '0' };
    expect(await publicChain(options, environment)).toMatchObject({
      ...{ url: 'http://localhost:8545', confirmations: 0 },
    });
  });

  it('takes both halves or none', async () => {
    await using made = await written(DEPLOYMENT);
    await expect(publicChain({ contracts: made.file }, {})).rejects.toEqual(usage('TESSERA_CHAIN_URL'));
    await expect(publicChain({ chainUrl: URL_WITH_KEY }, {})).rejects.toEqual(usage('--contracts'));
    await expect(publicChain({ confirmations: '3' }, {})).rejects.toEqual(usage('--contracts'));
  });

  it.each<[unknown, string]>([
    ['no JSON', 'cannot be read as JSON'],
    [{ chainId: 10 }, 'escrowAddress'],
    [{ ...DEPLOYMENT, escrowAddress: '0x12' }, 'escrowAddress'],
    // There everybody is given money.
    [{ ...DEPLOYMENT, chainId: 31_337 }, "the farm's own chain"],
  ])('refuses %j', async (content, part) => {
    await using made = await written(content);
    await expect(publicChain({ contracts: made.file, chainUrl: URL_WITH_KEY }, {})).rejects.toEqual(
      usage(part),
    );
  });

  it('shows neither a key nor the address of a provider when it refuses them', async () => {
    for (const chainUrl of [
      'open-sesame',
      'ws://provider.example/open-sesame',
      'https://me:open-sesame@host/',
    ]) {
      const refused = await publicChain({ chainUrl }, {}).catch((error: unknown) => error);
      expect(refused).toEqual(usage('--chain-url'));
      expect(String(refused)).not.toContain('open-sesame');
    }
    expect(() => coordinatorKey({ TESSERA_COORDINATOR_KEY: KEY.slice(2) })).toThrowError(
      expect.objectContaining({ code: 'USAGE', message: expect.not.stringContaining(KEY.slice(2)) }),
    );
    expect(coordinatorKey({})).toBeUndefined();
  });

  it('is asked by audits where the option and the farm name none', () => {
    const environment = { TESSERA_CHAIN_URL: URL_WITH_KEY };
    const elsewhere = { chainId: 10, chainUrl: null };
    expect(chainUrlOf(elsewhere, 'http://mine', environment)).toBe('http://mine');
    expect(chainUrlOf(elsewhere, undefined, environment)).toBe(URL_WITH_KEY);
    // A farm with a chain of its own has that one, whatever else is set.
    const own = { chainId: 31_337, chainUrl: 'http://127.0.0.1:1' };
    expect(chainUrlOf(own, undefined, environment)).toBe('http://127.0.0.1:1');
    expect(() => chainUrlOf(elsewhere, undefined, {})).toThrowError(usage('chain 10'));
  });
});

describe('the folder of a farm', () => {
  it('stays with the contracts that it was started with', async () => {
    await using temp = await tempFolder();
    const folder = farmFolder(temp.path);
    await requireSameChain(folder, DEPLOYMENT);
    await makeFolders(folder);
    await writeDeployment(folder, DEPLOYMENT);
    await requireSameChain(folder, DEPLOYMENT);
    await expect(requireSameChain(folder, null)).rejects.toEqual(usage('chain 11155111'));
    for (const other of [{ chainId: 10 }, { escrowAddress: address('9') }, { tokenAddress: address('9') }])
      await expect(requireSameChain(folder, { ...DEPLOYMENT, ...other })).rejects.toEqual(
        usage('--contracts names'),
      );
  });

  it('of a farm with a chain of its own goes to no other', async () => {
    await using temp = await tempFolder();
    const folder = farmFolder(temp.path);
    await makeFolders(folder);
    await writeFile(folder.chainState, '{}');
    // Also where the addresses of its contracts are lost.
    await expect(requireSameChain(folder, DEPLOYMENT)).rejects.toEqual(usage('a chain of its own'));
    await writeDeployment(folder, { ...DEPLOYMENT, chainId: 31_337 });
    await expect(requireSameChain(folder, DEPLOYMENT)).rejects.toEqual(usage('a chain of its own'));
    await requireSameChain(folder, null);
  });
});
