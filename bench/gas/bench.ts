/**
 * What a farm pays for gas: real transactions on a fresh anvil. Compared with what was committed in
 * contracts/gas-snapshot.json; `tsx bench/gas/snapshot.ts` writes that anew.
 */
import { goal, type Report, thisMachine } from '../lib/report.ts';
import { BATCHES, measureGas, TILES } from './measure.ts';
import { readSnapshot } from './snapshot.ts';

const BUDGETS = {
  openWithPermit: 150_000,
  commitOne: 60_000,
  commitOf16: 35_000,
  settleOf16: 40_000,
  withdraw: 45_000,
  perTile64: 1_600,
};

type Say = (line: string) => void;

export async function run(signal: AbortSignal, say: Say): Promise<Report> {
  say(
    `sixteen batches of ${TILES} tiles of one node, lanes that were used before; four verifiers; a fee of 2.5 %`,
  );
  const gas = await measureGas(signal);
  const perTile64 = perTileOf(gas);
  const committed = readSnapshot();
  const rows = Object.entries(gas).map(([name, value]) => ({
    transaction: name,
    gas: value,
    committed: committed[name] ?? 0,
  }));
  const first = Math.round(perTile64 + (gas.commitOf16FirstUse - gas.commitOf16) / TILES);
  return {
    bench: 'gas',
    machine: { ...thisMachine(), batches: BATCHES, tiles: TILES },
    goals: Object.entries(BUDGETS).map(([name, limit]) =>
      goal(name, name === 'perTile64' ? perTile64 : gas[name as keyof typeof gas], limit, 'lower'),
    ),
    rows: [
      ...rows,
      { transaction: 'a tile, all in', gas: perTile64, committed: perTileOf(committed) },
      { transaction: 'a tile, lanes used for the first time', gas: first, committed: 0 },
    ],
  };
}

/** Commit, draw, verdict and settlement of a batch, shared by its tiles. */
function perTileOf(gas: Record<string, number>): number {
  const steps = ['commitOf16', 'drawOf16', 'attestOf16', 'settleOf16'];
  return Math.round(steps.reduce((sum, step) => sum + (gas[step] ?? 0), 0) / TILES);
}
