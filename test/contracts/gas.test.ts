import { expect, it, vi } from 'vitest';
import { measureGas } from '../../bench/gas/measure.ts';
import { readSnapshot } from '../../bench/gas/snapshot.ts';

vi.setConfig({ testTimeout: 120_000 });

/** Signatures and hashes have a zero byte more or less, and draws fall otherwise: a fraction of a per cent. */
const TOLERANCE = 1.02;

it('no transaction costs two per cent more gas than was committed', async () => {
  const committed = readSnapshot();
  const measured = await measureGas(AbortSignal.timeout(110_000));
  expect(Object.keys(measured)).toEqual(Object.keys(committed));
  const dearer = Object.entries(measured).filter(([name, gas]) => gas > (committed[name] ?? 0) * TOLERANCE);
  // Dearer for a good reason? `npx tsx bench/gas/snapshot.ts`, and say why in the commit.
  expect(dearer).toEqual([]);
});
