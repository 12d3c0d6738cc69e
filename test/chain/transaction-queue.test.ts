import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Transaction } from 'ethers';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { firstFees, raisedFees } from '../../platform/chain/fees.ts';
import { jsonRpc, quantity, type Rpc } from '../../platform/chain/json-rpc.ts';
import { addressOf, newPrivateKey } from '../../platform/chain/signing.ts';
import { type QueueOptions, transactionQueue } from '../../platform/chain/transaction-queue.ts';
import { type ErrorCode, isFarmError } from '../../protocol/errors.ts';
import { party } from './fixture.ts';
import { proxyTo, type RpcQuestion } from './proxies.ts';
import { PUBLIC_CHAIN_ID, type PublicChain, startPublicChain } from './public-chain.ts';

let folder: string;
let anvil: PublicChain;
let rpc: Rpc;
let key = newPrivateKey();
let journalFile: string;
let notices: string[];
/** Ends whatever a test leaves waiting. */
let ending: AbortController;
const target = party().address;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tessera-queue-'));
  anvil = await startPublicChain();
  rpc = anvil.rpc;
});
afterAll(async () => {
  await anvil.end();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  ending = new AbortController();
  key = newPrivateKey();
  journalFile = join(folder, `${addressOf(key)}.json`);
  notices = [];
  await rpc.call('anvil_setBalance', [addressOf(key), '0xde0b6b3a7640000']);
});
afterEach(async () => {
  ending.abort();
  await rpc.call('anvil_dropAllTransactions', []);
  await rpc.call('evm_setAutomine', [true]);
});

/** A queue as a program has it that was just started. */
const started = (options: Partial<QueueOptions> = {}) =>
  transactionQueue({
    ...{ rpc, chainId: PUBLIC_CHAIN_ID, key, journalFile, confirmations: 3, pollMs: 5 },
    onNotice: (notice) => notices.push(notice),
    ...options,
  });
const call = (data = '0x') => ({ to: target, data, label: 'a call' });
const journal = async (): Promise<{ label: string; raws: string[]; included: unknown }[]> =>
  JSON.parse(await readFile(journalFile, 'utf8')).transactions;
const pool = async () => {
  const content = (await rpc.call('txpool_content', [])) as { pending: Record<string, object> };
  const own = Object.entries(content.pending).find(([from]) => from.toLowerCase() === addressOf(key));
  return Object.values(own?.[1] ?? {}) as { hash: string; nonce: string; maxFeePerGas: string }[];
};
const until = (holds: () => Promise<void> | void) => vi.waitFor(holds, { timeout: 20_000, interval: 10 });
const inPool = (count: number) => until(async () => expect(await pool()).toHaveLength(count));
const nonce = async () =>
  Number(quantity(await rpc.call('eth_getTransactionCount', [addressOf(key), 'latest'])));
const mine = (blocks = 1) => anvil.mine(blocks);
const stopMining = () => rpc.call('evm_setAutomine', [false]);
const failsWith = (attempt: Promise<unknown>, code: ErrorCode, words: string) =>
  expect(attempt).rejects.toSatisfy((error) => isFarmError(error, code) && error.message.includes(words));

describe('a queue of transactions', () => {
  it('sends one after the other, each with the next nonce, and forgets them once they are deep', async () => {
    const queue = started();
    const receipts = await Promise.all(['0x01', '0x02', '0x03'].map((data) => queue.send(call(data))));
    const blocks = receipts.map(({ blockNumber }) => blockNumber);
    expect(blocks).toEqual([...blocks].sort((a, b) => Number(a - b)));
    expect(await nonce()).toBe(3);
    expect(await journal()).not.toHaveLength(0);
    await mine(3);
    await queue.waitUntilDeep(blocks.at(-1) ?? 0n);
    expect(await journal()).toHaveLength(0);
    expect(notices).toEqual([]);
  });

  it('waits with what was sent until it is deep', async () => {
    let asked = 0;
    const proxy = await proxyTo(anvil.url, {
      async before() {
        asked += 1;
        return 'ask';
      },
    });
    const queue = started({ rpc: jsonRpc(proxy.url) });
    const { blockNumber } = await queue.send(call());
    await mine(2);
    let deep = false;
    const waiting = queue.waitUntilDeep(blockNumber, ending.signal).then(() => {
      deep = true;
    });
    // It has looked several times, and two blocks are not enough.
    const before = asked;
    await until(() => expect(asked).toBeGreaterThan(before + 5));
    expect(deep).toBe(false);
    await mine();
    await waiting;
    expect(deep).toBe(true);
    await proxy.close();
  });

  it('raises the fee of what is in no block, and takes whichever gets there', async () => {
    await stopMining();
    const queue = started({ raiseAfterMs: 40 });
    const sending = queue.send(call('0x0a'), ending.signal);
    await until(() => expect(notices.length).toBeGreaterThanOrEqual(2));
    await mine();
    const receipt = await sending;
    const [noted] = await journal();
    expect(noted?.raws.length).toBeGreaterThanOrEqual(3);
    const signed = (noted?.raws ?? []).map((raw) => Transaction.from(raw));
    expect(signed.map(({ hash }) => hash)).toContain(receipt.txHash);
    expect(new Set(signed.map((one) => one.nonce)).size).toBe(1);
    for (const [at, one] of signed.slice(1).entries()) {
      const before = signed[at]?.maxFeePerGas ?? 0n;
      expect((one.maxFeePerGas ?? 0n) * 8n).toBeGreaterThanOrEqual(before * 9n);
    }
    expect(await nonce()).toBe(1);
    expect(notices[0]).toContain('its fee was raised');
  });

  it('sends the very same bytes again when the chain has dropped them', async () => {
    await stopMining();
    const sending = started().send(call('0x0b'), ending.signal);
    await inPool(1);
    const [first] = await pool();
    await rpc.call('anvil_dropTransaction', [first?.hash]);
    await until(async () => expect((await pool())[0]?.hash).toBe(first?.hash));
    await mine();
    expect((await sending).txHash).toBe(first?.hash);
    expect(await nonce()).toBe(1);
  });

  it('goes on after a crash with what it had signed, and sends nothing twice', async () => {
    await stopMining();
    const crash = new AbortController();
    const crashed = started().send(call('0x0c'), crash.signal);
    await inPool(1);
    const [first] = await pool();
    crash.abort(new Error('killed'));
    await expect(crashed).rejects.toThrow('killed');
    // As when the machine of the node was restarted as well.
    await rpc.call('anvil_dropAllTransactions', []);
    const sending = started().send(call('0x0d'), ending.signal);
    await inPool(1);
    expect((await pool())[0]?.hash).toBe(first?.hash);
    await mine();
    // Only now the new one.
    await inPool(1);
    expect((await pool())[0]?.nonce).toBe('0x1');
    await mine();
    await sending;
    expect(await nonce()).toBe(2);
  });

  it('goes on after a crash between the note and the sending', async () => {
    const { raws } = await signedOnly('0x0e');
    const receipt = await started().send(call('0x0f'));
    expect(await nonce()).toBe(2);
    const first = await rpc.call('eth_getTransactionReceipt', [Transaction.from(raws[0] ?? '').hash]);
    expect(Number((first as { blockNumber: string }).blockNumber)).toBeLessThan(Number(receipt.blockNumber));
  });

  it('sees that a block was taken back, and brings the transaction into another', async () => {
    const queue = started();
    const { txHash, blockNumber } = await queue.send(call('0x10'));
    await stopMining();
    const head = await rpc.call('eth_blockNumber', []);
    await rpc.call('anvil_reorg', [1, []]);
    expect(await rpc.call('eth_getTransactionReceipt', [txHash])).toBeNull();
    expect(await rpc.call('eth_blockNumber', [])).toBe(head);
    const waiting = queue.waitUntilDeep(blockNumber, ending.signal);
    await inPool(1);
    expect((await pool())[0]?.hash).toBe(txHash);
    await mine(4);
    await waiting;
    expect(await rpc.call('eth_getTransactionReceipt', [txHash])).not.toBeNull();
    expect(notices.join()).toContain(`took block ${blockNumber} back`);
  });

  it('gives a nonce of a block that was taken back to nothing else', async () => {
    const queue = started();
    const { txHash } = await queue.send(call('0x11'));
    await stopMining();
    await rpc.call('anvil_reorg', [1, []]);
    const next = queue.send(call('0x12'), ending.signal);
    await inPool(1);
    expect((await pool())[0]?.hash).toBe(txHash);
    await mine();
    await inPool(1);
    await mine();
    await next;
    expect(await nonce()).toBe(2);
  });

  it('says so when what it told of was taken back for good', async () => {
    const queue = started();
    const { blockNumber } = await queue.send(call('0x13'));
    await stopMining();
    await rpc.call('anvil_reorg', [1, []]);
    // Another program with the same key is faster.
    const other = started({ journalFile: null });
    const foreign = other.send(call('0x14'), ending.signal);
    await inPool(1);
    await mine();
    await foreign;
    await failsWith(queue.waitUntilDeep(blockNumber, ending.signal), 'CHAIN_UNAVAILABLE', 'took back');
    expect(notices.join()).toContain('took its nonce 0');
    expect(await journal()).toEqual([]);
  });

  it('tells a refusal of the contract before it is sent, and one in its block', async () => {
    const revert = { to: null, data: '0x60006000fd', label: 'a bad contract' };
    await failsWith(started().send(revert), 'CHAIN_REVERTED', 'a bad contract');
    expect(await nonce()).toBe(0);
    // Refused only where it runs: what it looks at changes between the two.
    const proxy = await proxyTo(anvil.url, {
      change: ({ method }, answer) =>
        method === 'eth_estimateGas' ? { id: answer.id, result: '0x30d40' } : answer,
    });
    await failsWith(started({ rpc: jsonRpc(proxy.url) }).send(revert), 'CHAIN_REVERTED', 'a bad contract');
    expect(await nonce()).toBe(1);
    await proxy.close();
  });

  it('tells that the account cannot pay for gas, and goes on when it can', async () => {
    const queue = started();
    await rpc.call('anvil_setBalance', [addressOf(key), '0x1']);
    await failsWith(queue.send(call()), 'CHAIN_GAS_MONEY', 'gas');
    await rpc.call('anvil_setBalance', [addressOf(key), '0xde0b6b3a7640000']);
    await queue.send(call());
    expect(await nonce()).toBe(1);
  });

  it('sends nothing to another chain than that of its contracts', async () => {
    await failsWith(started({ chainId: 1 }).send(call()), 'CHAIN_WRONG', `chain ${PUBLIC_CHAIN_ID} answers`);
    expect(await nonce()).toBe(0);
  });

  it('leaves a journal alone that is broken, or of another account', async () => {
    await writeFile(journalFile, '{"version":1');
    await failsWith(started().send(call()), 'CHAIN_JOURNAL', journalFile);
    expect(await readFile(journalFile, 'utf8')).toBe('{"version":1');
    await rm(journalFile);
    await started().send(call());
    const other = newPrivateKey();
    await failsWith(started({ key: other }).send(call()), 'CHAIN_JOURNAL', 'another account');
    expect(await nonce()).toBe(1);
  });
});

describe('a node that is away', () => {
  it('or is slow, or loses answers, makes nothing be sent twice', async () => {
    // Of every question, the first try is not answered although it arrived.
    const seen = new Set<string>();
    const lossy = await proxyTo(anvil.url, {
      async before(questions: RpcQuestion[]) {
        const what = JSON.stringify(questions.map(({ method, params }) => [method, params]));
        if (seen.has(what) || questions[0]?.method !== 'eth_sendRawTransaction') return 'ask';
        seen.add(what);
        await rpc.call('eth_sendRawTransaction', questions[0].params);
        return 'hang up';
      },
    });
    const queue = started({ rpc: jsonRpc(lossy.url) });
    await queue.send(call('0x20'));
    await queue.send(call('0x21'));
    expect(await nonce()).toBe(2);
    await lossy.close();
  });

  it('while a transaction waits is waited for', async () => {
    await stopMining();
    let down = false;
    let asked = 0;
    const proxy = await proxyTo(anvil.url, {
      async before() {
        asked += 1;
        return down ? 'hang up' : 'ask';
      },
    });
    const sending = started({ rpc: jsonRpc(proxy.url) }).send(call('0x22'), ending.signal);
    await inPool(1);
    down = true;
    const before = asked;
    await until(() => expect(asked).toBeGreaterThan(before + 1));
    await mine();
    down = false;
    await sending;
    expect(await nonce()).toBe(1);
    await proxy.close();
  });

  it('for longer is an error that says what was kept, and the next start goes on', async () => {
    await stopMining();
    let down = false;
    const proxy = await proxyTo(anvil.url, { before: async () => (down ? 'hang up' : 'ask') });
    const options = { rpc: jsonRpc(proxy.url), patienceMs: 50 };
    const sending = started(options).send(call('0x23'), ending.signal);
    const failure = expect(sending).rejects.toSatisfy(
      (error) => isFarmError(error, 'CHAIN_UNAVAILABLE') && error.kept?.includes('is noted') === true,
    );
    await inPool(1);
    down = true;
    await failure;
    expect(await journal()).toHaveLength(1);
    await rpc.call('evm_setAutomine', [true]);
    await mine();
    await started().send(call('0x24'));
    expect(await nonce()).toBe(2);
    await proxy.close();
  });
});

describe('fees', () => {
  it('that are raised are at least an eighth higher, and never below what the chain asks', () => {
    const amount = fc.bigInt(0n, 10n ** 15n);
    const market = fc.record({ baseFee: amount, tip: amount });
    fc.assert(
      fc.property(market, market, fc.integer({ min: 1, max: 20 }), (then, now, times) => {
        let fees = firstFees(then);
        for (let at = 0; at < times; at++) {
          const raised = raisedFees(fees, now);
          expect(raised.maxFeePerGas * 8n).toBeGreaterThan(fees.maxFeePerGas * 9n - 1n);
          expect(raised.maxPriorityFeePerGas * 8n).toBeGreaterThan(fees.maxPriorityFeePerGas * 9n - 1n);
          expect(raised.maxFeePerGas).toBeGreaterThanOrEqual(firstFees(now).maxFeePerGas);
          expect(raised.maxFeePerGas).toBeGreaterThanOrEqual(raised.maxPriorityFeePerGas);
          fees = raised;
        }
      }),
    );
  });
});

/** What is on the disk when a program is killed after it noted a transaction and before it sent it. */
async function signedOnly(data: string): Promise<{ raws: string[] }> {
  const unsent = await proxyTo(anvil.url, {
    before: async ([question]) => (question?.method === 'eth_sendRawTransaction' ? 'hang up' : 'ask'),
  });
  const crash = new AbortController();
  const crashed = started({ rpc: jsonRpc(unsent.url) }).send(call(data), crash.signal);
  await until(async () => expect(await journal()).toHaveLength(1));
  crash.abort(new Error('killed'));
  await expect(crashed).rejects.toThrow('killed');
  await unsent.close();
  expect(await pool()).toHaveLength(0);
  const [noted] = await journal();
  return { raws: noted?.raws ?? [] };
}
