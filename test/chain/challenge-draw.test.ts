import { ContractFactory, Interface, JsonRpcProvider, Wallet } from 'ethers';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { compile } from '../../contracts/build.ts';
import { drawChallenge } from '../../proof/draw.ts';
import { type Bytes32, bytes32Schema } from '../../protocol/ids.ts';
import type { TaskKind } from '../../protocol/receipt.ts';
import type { Rect } from '../../protocol/rect.ts';
import vectors from '../proof/vectors/draw.json' with { type: 'json' };
import { type ChainFixture, startChainFixture } from './fixture.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** What a dispute would call: the library behind a function that can be asked from outside. */
const HARNESS = `// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;
import {ChallengeDraw} from "ChallengeDraw.sol";
contract DrawHarness {
    function draw(bytes32 seed, ChallengeDraw.Rect[] calldata rects, uint8[] calldata kinds, uint256 count)
        external pure returns (uint256[] memory, ChallengeDraw.Rect[] memory)
    {
        return ChallengeDraw.draw(seed, rects, kinds, count);
    }
}`;
const KIND_NUMBER: Record<TaskKind, number> = { render: 0, finish: 1, frame: 2 };

let fixture: ChainFixture;
let harness: { address: string; abi: Interface };
beforeAll(async () => {
  fixture = await startChainFixture();
  const [artifact] = compile({ 'DrawHarness.sol': HARNESS }, [
    { source: 'DrawHarness.sol', name: 'DrawHarness' },
  ]);
  if (artifact === undefined) throw new Error('nothing was compiled');
  const provider = new JsonRpcProvider(fixture.anvil.url, undefined, { cacheTimeout: -1 });
  try {
    const wallet = new Wallet(fixture.coordinator.key, provider);
    const contract = await new ContractFactory(artifact.abi, artifact.bytecode, wallet).deploy();
    await contract.waitForDeployment();
    harness = { address: await contract.getAddress(), abi: new Interface(artifact.abi) };
  } finally {
    provider.destroy();
  }
});
afterAll(() => fixture.end());

type Item = { rect: Rect; kind: TaskKind };

async function drawOnChain(seed: Bytes32, items: readonly Item[], challengeCount: number) {
  const data = harness.abi.encodeFunctionData('draw', [
    seed,
    items.map(({ rect }) => [rect.x, rect.y, rect.width, rect.height]),
    items.map(({ kind }) => KIND_NUMBER[kind]),
    challengeCount,
  ]);
  const raw = (await fixture.rpc.call('eth_call', [{ to: harness.address, data }, 'latest'])) as string;
  const [indexes, crops] = harness.abi.decodeFunctionResult('draw', raw) as unknown as [bigint[], bigint[][]];
  return indexes.map((index, position) => {
    const [x, y, width, height] = (crops[position] as bigint[]).map(Number);
    return { index: Number(index), crop: { x, y, width, height } };
  });
}

const anySeed = fc
  .bigInt({ min: 0n, max: 2n ** 256n - 1n })
  .map((n) => bytes32Schema.parse(`0x${n.toString(16).padStart(64, '0')}`));
const side = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 65_536 }));
const anyItem: fc.Arbitrary<Item> = fc.record({
  rect: fc.record({ x: fc.nat(65_536), y: fc.nat(65_536), width: side, height: side }),
  kind: fc.constantFrom('render', 'finish', 'frame'),
});

describe('the draw on chain', () => {
  it('is that of the vectors', async () => {
    for (const { seed, receipts, challengeCount, drawn } of vectors) {
      const items = receipts as Item[];
      expect(await drawOnChain(bytes32Schema.parse(seed), items, challengeCount)).toEqual(drawn);
    }
  });

  it('is that of TypeScript for 1,000 batches of any size', async () => {
    const batch = fc.array(anyItem, { minLength: 1, maxLength: 64 });
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(anySeed, batch, fc.integer({ min: 1, max: 70 }), async (seed, receipts, k) => {
        const ours = drawChallenge({ seed, count: receipts.length, receipts, challengeCount: k });
        expect(await drawOnChain(seed, receipts, k)).toEqual(ours);
        compared += 1;
      }),
      { numRuns: 1_000 },
    );
    expect(compared).toBe(1_000);
  });

  it('refuses a batch of nothing, and a draw of nothing', async () => {
    const seed = bytes32Schema.parse(`0x${'00'.repeat(32)}`);
    const one: Item = { rect: { x: 0, y: 0, width: 64, height: 64 }, kind: 'render' };
    await expect(drawOnChain(seed, [], 2)).rejects.toThrow();
    await expect(drawOnChain(seed, [one], 0)).rejects.toThrow();
    expect(await drawOnChain(seed, [one], 1)).toHaveLength(1);
  });
});
