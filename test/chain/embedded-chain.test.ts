import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { evmHash, headerHash } from '../../platform/chain/block-hashes.ts';
import type { FarmChain } from '../../platform/chain/chain.ts';
import { escrow } from '../../platform/chain/contracts.ts';
import { EMBEDDED_STAKE, isDeployed } from '../../platform/chain/deploy.ts';
import { anvilCommand, freePort, startAnvil } from '../../platform/chain/embedded.ts';
import { ethersChain } from '../../platform/chain/ethers-chain.ts';
import { jsonRpc } from '../../platform/chain/json-rpc.ts';
import { copyOf, prepareStateFile } from '../../platform/chain/state-file.ts';
import { isFarmError } from '../../protocol/errors.ts';
import { type ChainFixture, randomBytes32, startChainFixture } from './fixture.ts';
import { forgetful } from './proxies.ts';

const HISTORY_CONTRACT = '0x0000f90827f1c53a10cb7a02335b175320002935';

const signal = new AbortController().signal;
let farm: ChainFixture;
beforeEach(async () => {
  farm = await startChainFixture();
});
afterEach(() => farm.end());

/** Starts the chain again on its state and connects; everything later in a test goes through the new process. */
async function startAgain(): Promise<FarmChain> {
  farm.anvil = await startAnvil({ stateFile: farm.stateFile, port: farm.anvil.port, signal });
  return ethersChain({
    ...farm.deployment,
    url: farm.anvil.url,
    coordinatorKey: farm.coordinator.key,
    embedded: { stateFile: farm.stateFile },
  });
}

async function kill9(): Promise<void> {
  process.kill(farm.anvil.pid, 'SIGKILL');
  await farm.anvil.exited;
}

describe('the embedded chain', () => {
  it('keeps everything over a stop and a start, and the same FarmChain goes on', async () => {
    const { chain } = farm;
    const { jobKey } = await farm.open();
    const batchKey = await farm.batchIn(jobKey, 'drawn');
    const [job, batch] = [await chain.job(jobKey), await chain.batch(batchKey)];
    await farm.anvil.stop();
    await expect(chain.job(jobKey)).rejects.toSatisfy((error) => isFarmError(error, 'CHAIN_UNAVAILABLE'));
    await startAgain();
    expect(farm.anvil.state).toBe('kept');
    expect(await isDeployed(farm.anvil.url, farm.deployment)).toBe(true);
    expect(await chain.job(jobKey)).toEqual(job);
    expect(await chain.batch(batchKey)).toEqual(batch);
    await farm.attestAs(batchKey, 'pass');
    await chain.settleMany([batchKey]);
    expect(await chain.credit(farm.node.address)).toBe(batch.amount);
  });

  it('keeps over kill -9 what waitUntilDurable waited for, and says what else survived', async () => {
    const { chain } = farm;
    const { jobKey } = await farm.open();
    const signed = farm.signedCommit(jobKey);
    const startedMs = performance.now();
    const write = await chain.commitMany([signed]);
    await chain.waitUntilDurable(write.blockNumber);
    const durableMs = performance.now() - startedMs;
    const copied = JSON.parse(await readFile(copyOf(farm.stateFile), 'utf8'));
    expect(Number(copied.block.number)).toBeGreaterThanOrEqual(Number(write.blockNumber));
    const signedLast = farm.signedCommit(jobKey);
    const last = await chain.commitMany([signedLast]);
    const lastKey = signedLast.commit.batchKey;
    expect((await chain.batch(lastKey)).state).toBe('committed');
    await kill9();
    await startAgain();
    expect((await chain.batch(signed.commit.batchKey)).state).toBe('committed');
    const receipt = await farm.rpc.call('eth_getTransactionReceipt', [write.txHash]);
    const lost = (await farm.rpc.call('eth_getTransactionReceipt', [last.txHash])) === null;
    console.info({
      durableAfterMs: Math.round(durableMs),
      receiptSurvives: receipt !== null,
      writeOfLastMomentLost: lost,
    });
    expect(receipt).not.toBeNull();
    // The nonce follows the chain back: the next write is neither refused nor left waiting. And what was read before
    // the chain forgot it is not taken for true.
    expect((await chain.batch(lastKey)).state).toBe(lost ? 'none' : 'committed');
    if (lost) await chain.commitMany([signedLast]);
    expect((await chain.batch(lastKey)).state).toBe('committed');
  });

  it('survives a state file that was cut off while it was written', async () => {
    const { chain } = farm;
    const { jobKey } = await farm.open();
    const write = await chain.commitMany([farm.signedCommit(jobKey)]);
    await chain.waitUntilDurable(write.blockNumber);
    await kill9();
    const whole = await readFile(farm.stateFile);
    for (const length of [0, 10, whole.length >> 1, whole.length - 1]) {
      await writeFile(farm.stateFile, whole.subarray(0, length));
      expect(await prepareStateFile(farm.stateFile)).toBe('restored');
    }
    await startAgain();
    expect((await chain.job(jobKey)).reserved).toBe(1_000_000n);
  });

  it('does not draw from the made-up block hashes that anvil shows after a restart', async () => {
    const { chain } = farm;
    const { jobKey } = await farm.open();
    const batchKey = await farm.batchIn(jobKey, 'committed');
    await chain.waitUntilDrawable([batchKey]);
    const { anchor, operator } = await chain.batch(batchKey);
    const drawer = await chain.drawerOf(batchKey);
    await farm.anvil.stop();
    await startAgain();
    const deciding = anchor + 1n;
    const real = await headerHash(farm.rpc, deciding);
    expect(await evmHash(farm.rpc, deciding)).not.toBe(real);
    const before = await farm.now();
    await chain.waitUntilDrawable([batchKey]);
    console.info(`aging the batch moved the chain's clock by ${(await farm.now()) - before} s`);
    // Not shown by the EVM any more, so the contract asks the history, which kept it: the same drawer as before.
    expect(await evmHash(farm.rpc, deciding)).toBeNull();
    expect(await chain.drawerOf(batchKey)).toBe(drawer);
    const drawn = await chain.draw(batchKey, await farm.nextSecret(batchKey));
    expect(drawn.kind).toBe('drawn');
    expect(await chain.batch(batchKey)).toMatchObject({ state: 'drawn', anchor, operator, reanchors: 0 });
    const receipt = await farm.rpc.call('eth_getTransactionReceipt', [drawn.txHash]);
    const { logs } = receipt as { logs: { topics: string[]; data: string }[] };
    const event = logs.map((log) => escrow.event(log)).find((parsed) => parsed?.name === 'Drawn');
    expect(event?.args).toMatchObject({ blockHash: real });
  });

  it('gives a batch whose block nobody can see any more a new anchor, and nobody pays', async () => {
    const { chain } = farm;
    // As on a chain without the history contract.
    await farm.rpc.call('anvil_setCode', [HISTORY_CONTRACT, '0x']);
    const { jobKey } = await farm.open();
    const [batchKey, late] = [
      await farm.batchIn(jobKey, 'committed'),
      await farm.batchIn(jobKey, 'committed'),
    ];
    await farm.mine(300);
    expect(await chain.drawerOf(batchKey)).toBeNull();
    await chain.waitUntilDrawable([batchKey]);
    expect(await chain.batch(batchKey)).toMatchObject({ state: 'committed', reanchors: 1 });
    await farm.drawNext(batchKey);
    // One that is stuck on its way until the hash is gone shows no secret: it is anchored anew in its place.
    const head = await chain.verifierHead(farm.verifiers[0]?.address ?? farm.node.address);
    expect((await chain.draw(late, randomBytes32())).kind).toBe('reanchored');
    expect(await chain.verifierHead(farm.verifiers[0]?.address ?? farm.node.address)).toBe(head);
    await farm.drawNext(late);
    for (const { operator } of farm.verifiers) {
      expect(await chain.operator(operator.address)).toMatchObject({ stake: EMBEDDED_STAKE });
    }
  });

  it('takes no answer whose events and lane do not agree', async () => {
    const { chain } = farm;
    const { jobKey } = await farm.open();
    const batchKey = await farm.batchIn(jobKey, 'drawn');
    const server = await forgetful(farm.anvil.url, escrow.topic('Drawn'));
    const lied = ethersChain({
      ...{ ...farm.deployment, url: server.url, coordinatorKey: farm.coordinator.key },
      embedded: { stateFile: farm.stateFile },
    });
    await expect(lied.batch(batchKey)).rejects.toSatisfy(
      (error) => isFarmError(error, 'CHAIN_UNAVAILABLE') && error.message.includes(batchKey),
    );
    expect((await chain.batch(batchKey)).state).toBe('drawn');
    await server.close();
  });

  it('is not deployed where the contracts are not', async () => {
    const other = await startAnvil({ stateFile: join(farm.folder, 'other.json'), signal });
    expect(other.state).toBe('new');
    expect(await isDeployed(other.url, farm.deployment)).toBe(false);
    expect(await isDeployed(farm.anvil.url, { ...farm.deployment, chainId: 1 })).toBe(false);
    const { tokenAddress } = farm.deployment;
    expect(await isDeployed(farm.anvil.url, { ...farm.deployment, escrowAddress: tokenAddress })).toBe(false);
    await other.stop();
  });

  it('does not take another chain, or another server, on its port for its own', async () => {
    const stateFile = join(farm.folder, 'second.json');
    await expect(startAnvil({ stateFile, port: farm.anvil.port, signal })).rejects.toSatisfy(
      (error) => isFarmError(error, 'PORT_TAKEN') || isFarmError(error, 'CHAIN_UNAVAILABLE'),
    );
    const server = createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    await expect(startAnvil({ stateFile, port, signal })).rejects.toSatisfy((error) => isFarmError(error));
    server.close();
    expect(await jsonRpc(farm.anvil.url).call('eth_chainId', [])).toBe('0x7a69');
  });

  it('ends when its signal aborts, and waits end with theirs', async () => {
    const stop = new AbortController();
    const other = await startAnvil({ stateFile: join(farm.folder, 'third.json'), signal: stop.signal });
    stop.abort();
    await other.exited;
    await expect(jsonRpc(other.url).call('eth_chainId', [])).rejects.toSatisfy((error) => isFarmError(error));
    const durable = farm.chain.waitUntilDurable(0n, AbortSignal.abort(new Error('enough')));
    await expect(durable).rejects.toThrow('enough');
    await expect(farm.chain.verifiers(AbortSignal.abort(new Error('never mind')))).rejects.toThrow(
      'never mind',
    );
  });

  it('says so at once when it is asked to wait for a block that a killed chain has forgotten', async () => {
    await expect(farm.chain.waitUntilDurable(10n ** 9n)).rejects.toSatisfy(
      (error) => isFarmError(error, 'CHAIN_UNAVAILABLE') && error.message.includes('the chain lost block'),
    );
  });

  it('keeps the order and the nonces of many writes at once', async () => {
    const { jobKey } = await farm.open();
    const writes = Array.from({ length: 20 }, () =>
      farm.chain.commitMany([farm.signedCommit(jobKey, { amount: 1n })]),
    );
    const blocks = (await Promise.all(writes)).map((write) => write.blockNumber);
    expect(blocks).toEqual([...blocks].sort((a, b) => Number(a - b)));
    expect((await farm.chain.job(jobKey)).reserved).toBe(20n);
  });
});

describe('the command of the embedded chain', () => {
  it('names a program that is there and listens on the loopback address only', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tessera-anvil-'));
    const { command, args } = anvilCommand({ port: await freePort(), stateFile: join(folder, 'state.json') });
    expect((await stat(command)).mode & 0o100).not.toBe(0);
    expect(args[args.indexOf('--host') + 1]).toBe('127.0.0.1');
    await rm(folder, { recursive: true });
  });
});
