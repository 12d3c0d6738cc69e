import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { token } from '../../platform/chain/contracts.ts';
import { deployEmbedded } from '../../platform/chain/deploy.ts';
import { ethersChain } from '../../platform/chain/ethers-chain.ts';
import { type FollowOptions, followEvents } from '../../platform/chain/follow-events.ts';
import {
  allLogs,
  extended,
  type Followed,
  type FollowedLog,
  held,
  marks,
  NOTHING_FOLLOWED,
  nextRange,
  settledBelow,
} from '../../platform/chain/followed-events.ts';
import { jsonRpc } from '../../platform/chain/json-rpc.ts';
import { newPrivateKey, type PrivateKey } from '../../platform/chain/signing.ts';
import { transactionSender } from '../../platform/chain/transactions.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import { digestOf, party } from './fixture.ts';
import { proxyTo } from './proxies.ts';
import { PUBLIC_CHAIN_ID, type PublicChain, startPublicChain } from './public-chain.ts';
import { publicFarm } from './public-farm.ts';

/** A chain of plain data: each block has a name of its own and as many logs as its weight. */
type Block = { hash: string; weight: number };

const logsOf = ({ hash, weight }: Block, number: number): FollowedLog[] =>
  Array.from({ length: weight }, (_, logIndex) => ({
    ...{ blockNumber: BigInt(number), logIndex, txHash: digestOf(hash) as Bytes32 },
    ...{ address: '0x' as Address, topics: [hash], data: '0x' },
  }));

/** What a follower does, without a node. */
function advanced(followed: Followed, chain: readonly Block[], span: number, depth: number): Followed {
  const hashes = new Map(marks(followed).map(({ number }) => [number, chain[Number(number)]?.hash ?? null]));
  let now = held(followed, hashes);
  const head = BigInt(chain.length - 1);
  for (;;) {
    const range = nextRange(now, { from: 0n, head, span: BigInt(span), depth: BigInt(depth) });
    if (range === null) return settledBelow(now, head, BigInt(depth));
    const blocks = chain.slice(Number(range.from), Number(range.to) + 1);
    const logs = blocks.flatMap((block, at) => logsOf(block, Number(range.from) + at));
    now = extended(now, { to: { number: range.to, hash: blocks.at(-1)?.hash ?? '' }, logs });
  }
}

describe('events that are followed', () => {
  it('are always those of the chain as it is, whatever it takes back within the depth', () => {
    const weight = fc.nat({ max: 2 });
    const growth = fc.array(weight, { minLength: 1, maxLength: 12 });
    const turn = fc.record({ back: fc.nat({ max: 6 }), growth });
    let rolledBack = 0;
    fc.assert(
      fc.property(
        growth,
        fc.array(turn, { maxLength: 8 }),
        fc.integer({ min: 1, max: 7 }),
        (first, turns, span) => {
          let name = 0;
          const grown = (of: number[]): Block[] =>
            of.map((one) => ({ hash: `block ${name++}`, weight: one }));
          let chain = grown(first);
          let highest = chain.length - 1;
          let followed = advanced(NOTHING_FOLLOWED, chain, span, 6);
          for (const { back, growth: more } of turns) {
            const kept = Math.max(1, chain.length - back);
            if (kept < chain.length) rolledBack += 1;
            chain = [...chain.slice(0, kept), ...grown(more)];
            followed = advanced(followed, chain, span, 6);
            expect(allLogs(followed)).toEqual(chain.flatMap((block, number) => logsOf(block, number)));
            // Only what is deep is settled: that is what goes to disk and is never taken out again.
            highest = Math.max(highest, chain.length - 1);
            if (followed.checkpoint === null) continue;
            expect(Number(followed.checkpoint.number) + 6).toBeLessThanOrEqual(highest);
          }
        },
      ),
      { numRuns: 100 },
    );
    expect(rolledBack).toBeGreaterThan(50);
  });

  it('begin anew when even what was settled is not of this chain', () => {
    const settled = { checkpoint: { number: 4n, hash: 'a' }, settled: [], recent: [] };
    expect(held(settled, new Map([[4n, 'b']]))).toEqual(NOTHING_FOLLOWED);
    expect(held(settled, new Map([[4n, null]]))).toEqual(NOTHING_FOLLOWED);
    expect(held(settled, new Map([[4n, 'a']]))).toBe(settled);
  });
});

describe('a follower on a chain', () => {
  let folder: string;
  let chain: PublicChain;
  let tokenAddress: Address;
  let fromBlock: number;
  let coordinatorKey: PrivateKey;
  let files = 0;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-events-'));
    chain = await startPublicChain();
    coordinatorKey = newPrivateKey();
    const signal = new AbortController().signal;
    const deployment = await deployEmbedded(chain.url, { coordinatorKey, verifiers: [], signal });
    ({ tokenAddress, deployedBlock: fromBlock } = deployment);
  });
  afterAll(async () => {
    await chain.end();
    await rm(folder, { recursive: true, force: true });
  });

  const follow = (options: Partial<FollowOptions> = {}) =>
    followEvents({
      ...{ rpc: chain.rpc, chainId: PUBLIC_CHAIN_ID, addresses: [tokenAddress], fromBlock },
      ...{ file: null, depth: 3, ...options },
    });
  const newFile = () => join(folder, `events-${files++}.jsonl`);
  /** Makes an event in a block of its own, and says which transaction. */
  const mint = async (): Promise<Bytes32> => {
    const sender = transactionSender(chain.rpc, PUBLIC_CHAIN_ID, coordinatorKey);
    const data = token.encode('mint', [party().address, 1n]);
    return (await sender.send({ to: tokenAddress, data, label: 'mint' })).txHash;
  };
  const seen = (follower: ReturnType<typeof follow>) => follower.logs().map(({ txHash }) => txHash);

  it('fills gaps, in ranges as small as the node wants them', async () => {
    const hashes = [await mint(), await mint()];
    await chain.mine(40);
    hashes.push(await mint());
    const asked: number[] = [];
    const strict = await proxyTo(chain.url, {
      change: ({ method, params }, answer) => {
        if (method !== 'eth_getLogs') return answer;
        const { fromBlock: from, toBlock: to } = params[0] as { fromBlock: string; toBlock: string };
        const blocks = Number(to) - Number(from) + 1;
        asked.push(blocks);
        return blocks > 7 ? { id: answer.id, error: { message: 'block range is too wide' } } : answer;
      },
    });
    const follower = follow({ rpc: jsonRpc(strict.url) });
    const head = await follower.advance();
    expect(head).toBe(BigInt((await chain.rpc.call('eth_blockNumber', [])) as string));
    expect(seen(follower).slice(-3)).toEqual(hashes);
    expect(Math.max(...asked)).toBeGreaterThan(7);
    expect(asked.at(-1)).toBeLessThanOrEqual(7);
    await strict.close();
  });

  it('goes on from its file, also when its last lines were cut off', async () => {
    const file = newFile();
    const first = await mint();
    await chain.mine(5);
    await follow({ file }).advance();
    const whole = await readFile(file, 'utf8');
    expect(whole).toContain(first);
    const asked: number[] = [];
    const counting = await proxyTo(chain.url, {
      change: ({ method, params }, answer) => {
        const { fromBlock: from } = (params[0] ?? {}) as { fromBlock?: string };
        if (method === 'eth_getLogs') asked.push(Number(from));
        return answer;
      },
    });
    // A crash in the middle of a line.
    await appendFile(file, '{"log":{"blockNumber":"9');
    const second = await mint();
    const again = follow({ file, rpc: jsonRpc(counting.url) });
    await again.advance();
    expect(seen(again)).toEqual([...new Set(seen(again))]);
    expect(seen(again).slice(-2)).toEqual([first, second]);
    expect(Math.min(...asked)).toBeGreaterThan(fromBlock + 3);
    const lines = (await readFile(file, 'utf8')).trim().split('\n');
    expect(lines.every((line) => line.endsWith('}'))).toBe(true);
    // Of other contracts the file is not taken.
    const other = follow({ file, addresses: [party().address] });
    await other.advance();
    expect(other.logs()).toEqual([]);
    await counting.close();
  });

  it('forgets what the chain took back', async () => {
    const notices: string[] = [];
    const follower = follow({ file: newFile(), onNotice: (notice) => notices.push(notice) });
    const kept = await mint();
    await chain.mine(5);
    await follower.advance();
    const lost = await mint();
    await follower.advance();
    expect(seen(follower).slice(-2)).toEqual([kept, lost]);
    await chain.rpc.call('anvil_reorg', [1, []]);
    await follower.advance();
    expect(seen(follower).at(-1)).toBe(kept);
    expect(seen(follower)).not.toContain(lost);
    expect(notices).toHaveLength(1);
    const next = await mint();
    await follower.advance();
    expect(seen(follower).at(-1)).toBe(next);
  });

  it('takes no other chain for its own', async () => {
    await expect(follow({ chainId: 1 }).advance()).rejects.toSatisfy((error) =>
      isFarmError(error, 'CHAIN_WRONG'),
    );
  });
});

describe('a farm on a chain of others', () => {
  it('reads its batches through what it followed, and a reorganisation does not mislead it', async () => {
    const chain = await startPublicChain();
    const farm = await publicFarm(chain, 3);
    const { key, signed } = await farm.committed();
    expect((await farm.chain.batch(key)).state).toBe('committed');
    await chain.rpc.call('anvil_reorg', [1, []]);
    expect((await farm.chain.batch(key)).state).toBe('none');
    // The queue brings it back: what was signed once is in a block again, and is committed once.
    await chain.mine(1);
    await expect(farm.chain.commitMany([signed])).rejects.toSatisfy(
      (error) => isFarmError(error, 'CHAIN_REVERTED') && error.details?.['error'] === 'LaneTaken',
    );
    expect((await farm.chain.batch(key)).state).toBe('committed');
    await chain.mine(3);
    await farm.drawAndPass(key);
    expect((await farm.chain.batch(key)).state).toBe('judged');
    const { blockNumber } = await farm.chain.settleMany([key]);
    await chain.mine(3);
    await farm.chain.waitUntilDurable(blockNumber);
    // A second program, and one that starts anew from the files of the first, see the same.
    for (const files of [{}, farm.files]) {
      const other = ethersChain({ ...farm.options, ...files });
      expect(await other.batch(key)).toEqual(await farm.chain.batch(key));
    }
    expect(await farm.chain.batch(key)).toMatchObject({ state: 'settled', paid: signed.commit.amount });
    await farm.end();
  });
});
