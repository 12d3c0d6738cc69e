import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile } from '../../contracts/build.ts';
import { standardInput } from '../../contracts/standard-input.ts';
import { TestToken } from '../../platform/chain/artifacts.ts';
import { token } from '../../platform/chain/contracts.ts';
import { isDeployed } from '../../platform/chain/deploy.ts';
import { deployContracts, prepareDeployment, publicTermsIn } from '../../platform/chain/deploy-real.ts';
import { ethersChain } from '../../platform/chain/ethers-chain.ts';
import { jsonRpc } from '../../platform/chain/json-rpc.ts';
import { transactionSender } from '../../platform/chain/transactions.ts';
import { isFarmError } from '../../protocol/errors.ts';
import { type Address, addressSchema } from '../../protocol/ids.ts';
import { type Party, party } from './fixture.ts';
import { proxyTo } from './proxies.ts';
import { PUBLIC_CHAIN_ID, type PublicChain, startPublicChain } from './public-chain.ts';

let folder: string;
let chain: PublicChain;
let tokenAddress: Address;
let folders = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tessera-deploy-'));
  chain = await startPublicChain();
  const bank = await funded();
  const data = token.deployment(TestToken.bytecode, [bank.address]);
  const made = await transactionSender(chain.rpc, PUBLIC_CHAIN_ID, bank.key).send({
    ...{ to: null, data, label: 'token' },
  });
  tokenAddress = addressSchema.parse(made.contractAddress);
});
afterAll(async () => {
  await chain.end();
  await rm(folder, { recursive: true, force: true });
});

async function funded(): Promise<Party> {
  const made = party();
  await chain.rpc.call('anvil_setBalance', [made.address, '0xde0b6b3a7640000']);
  return made;
}

/** The script as a person runs it. */
async function run(deployer: Party, out: string, ...more: string[]) {
  const parameters = ['--import', 'tsx', 'scripts/deploy-contracts.ts', '--rpc', chain.url];
  const given = ['--token', tokenAddress, '--out', out, '--confirmations', '0', ...more];
  const child = spawn(process.execPath, [...parameters, ...given], {
    env: { ...process.env, TESSERA_DEPLOYER_KEY: deployer.key },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stdout.on('data', (part) => {
    said += String(part);
  });
  child.stderr.on('data', (part) => {
    said += String(part);
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  return { code, said };
}

const nonceOf = async ({ address }: Party) =>
  Number(await chain.rpc.call('eth_getTransactionCount', [address, 'latest']));
const newFolder = () => mkdtemp(join(folder, `out-${folders++}-`));
const optionsFor = async (deployer: Party, url = chain.url) => {
  const out = await newFolder();
  return {
    ...{ url, key: deployer.key, tokenAddress, adminDelayS: 60, feeBps: 25, confirmations: 0 },
    ...{ planFile: join(out, 'unfinished.json'), journalFile: join(out, 'journal.json') },
    ...{ signal: new AbortController().signal, onStep: () => undefined },
  };
};

describe('the contracts on a chain of others', () => {
  it('are said with their gas by a dry run, which changes nothing', async () => {
    const deployer = await funded();
    const out = await newFolder();
    const head = await chain.rpc.call('eth_blockNumber', []);
    const { code, said } = await run(deployer, out, '--dry-run');
    expect({ code, said }).toMatchObject({ code: 0 });
    for (const step of ['AccessManager', 'NodeRegistry', 'RenderEscrow']) {
      expect(said).toMatch(new RegExp(`${step} .*\\d{7} gas`));
    }
    // A contract that is not there yet cannot be called; what that costs is not made up.
    expect(said).toMatch(/setEscrow .*known once its contract is there/);
    expect(said).toMatch(/grantRole .*known once its contract is there/);
    expect(said).not.toContain(deployer.key.slice(2));
    expect(await nonceOf(deployer)).toBe(0);
    expect(await chain.rpc.call('eth_blockNumber', [])).toBe(head);
    expect(await readdir(out)).toEqual([]);
  });

  it('are deployed, wired and recorded with what an explorer needs', async () => {
    const deployer = await funded();
    const admin = party();
    const out = await newFolder();
    const { code, said } = await run(deployer, out, '--admin', admin.address, '--fee-bps', '25');
    expect({ code, said }).toMatchObject({ code: 0 });
    const record = JSON.parse(await readFile(join(out, `${PUBLIC_CHAIN_ID}.json`), 'utf8'));
    expect(await isDeployed(chain.url, record)).toBe(true);
    const farm = ethersChain({ ...record, url: chain.url, coordinatorKey: deployer.key, embedded: null });
    expect(await farm.terms()).toEqual(publicTermsIn(6));
    expect(record.contracts.map(({ label }: { label: string }) => label)).toEqual([
      ...['deploy AccessManager', 'deploy NodeRegistry', 'deploy RenderEscrow'],
    ]);
    for (const { address, constructorArguments } of record.contracts) {
      expect(await chain.rpc.call('eth_getCode', [address, 'latest'])).not.toBe('0x');
      expect(constructorArguments.encoded).toMatch(/^0x[0-9a-f]+$/);
    }
    const input = JSON.parse(await readFile(join(out, record.compiler.standardInput), 'utf8'));
    expect(Object.keys(input.sources)).toContain('escrow/EscrowBase.sol');
    expect(record.compiler.version).toMatch(/^0\.8\./);
    // Nothing but the record and what the journal keeps is left; no key anywhere.
    for (const file of await readdir(out)) {
      expect(await readFile(join(out, file), 'utf8')).not.toContain(deployer.key.slice(2));
    }
    expect(await readdir(out)).not.toContain('unfinished.json');
  });

  it('are completed by a second run when the first broke off, in the same places', async () => {
    const deployer = await funded();
    const options = await optionsFor(deployer);
    const planned = await prepareDeployment(options);
    let sent = 0;
    const failing = await proxyTo(chain.url, {
      before: async ([question]) => {
        if (question?.method !== 'eth_sendRawTransaction') return 'ask';
        sent += 1;
        if (sent < 3) return 'ask';
        // It arrives, but nobody hears of it any more: the program is killed here.
        await chain.rpc.call('eth_sendRawTransaction', question.params);
        stop.abort(new Error('killed'));
        return 'hang up';
      },
    });
    const stop = new AbortController();
    const killed = deployContracts({ ...options, url: failing.url, signal: stop.signal });
    await expect(killed).rejects.toThrow('killed');
    await failing.close();
    // Another deployment in its place would leave half of one behind.
    await expect(deployContracts({ ...options, feeBps: 26 })).rejects.toSatisfy((error) =>
      isFarmError(error, 'USAGE'),
    );
    const deployed = await deployContracts(options);
    const { escrowAddress, registryAddress, managerAddress } = planned.plan;
    expect(deployed).toMatchObject({ escrowAddress, registryAddress, managerAddress });
    expect(await isDeployed(chain.url, deployed)).toBe(true);
    expect(await nonceOf(deployer)).toBe(planned.plan.steps.length);
  });

  it('are not sent without a token, gas money or a key', async () => {
    const poor = party();
    const options = await optionsFor(poor);
    await expect(deployContracts(options)).rejects.toSatisfy((error) =>
      isFarmError(error, 'CHAIN_GAS_MONEY'),
    );
    const nowhere = { ...options, tokenAddress: party().address };
    await expect(prepareDeployment(nowhere)).rejects.toSatisfy((error) => isFarmError(error, 'USAGE'));
    const keyFile = join(await newFolder(), 'key');
    await writeFile(keyFile, 'nothing\n');
    const { code, said } = await run(poor, await newFolder(), '--key-file', keyFile);
    expect(code).toBe(1);
    expect(said).toContain('holds no private key');
    const both = await run(poor, await newFolder(), '--test-token');
    expect(both).toMatchObject({ code: 1, said: expect.stringContaining('or make one with --test-token') });
    expect(await nonceOf(poor)).toBe(0);
  });
});

describe('the standard input', () => {
  it('compiles by itself to the code that is deployed', () => {
    const { sources } = standardInput(['TestToken.sol']);
    const texts = Object.fromEntries(Object.entries(sources).map(([file, { content }]) => [file, content]));
    const [made] = compile(texts, [{ source: 'TestToken.sol', name: 'TestToken' }]);
    expect(made?.bytecode).toBe(TestToken.bytecode);
    const all = Object.keys(standardInput(['RenderEscrow.sol']).sources);
    expect(all).toContain('@openzeppelin/contracts/access/manager/AccessManaged.sol');
    expect(all).toContain('IRenderEscrow.sol');
  });
});

it('jsonRpc shows no secret of a provider in its errors', async () => {
  const attempt = jsonRpc('http://127.0.0.1:9/v2/secret-key').call('eth_chainId', []);
  await expect(attempt).rejects.toSatisfy(
    (error) => isFarmError(error, 'CHAIN_UNAVAILABLE') && !error.message.includes('secret'),
  );
});
