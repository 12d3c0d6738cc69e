/** What every runtime of Blender has to do: the port's contract, and Blender's own pictures. */
import { describe } from 'vitest';
import { makeBench, type RuntimeMaker, TIMEOUT_MS } from './conformance/bench.ts';
import { endingContract } from './conformance/contract/ending.ts';
import { portContract } from './conformance/contract.ts';
import { endingConformance } from './conformance/ending.ts';
import { inspectConformance } from './conformance/inspecting.ts';
import { picturesConformance } from './conformance/pictures.ts';
import { refusalConformance } from './conformance/refusing.ts';
import { renderConformance } from './conformance/rendering.ts';
import { startingConformance } from './conformance/starting.ts';
import { type BareBlender, localBlender, makeFixtures } from './support.ts';

/** The tests of one runtime. `bare` is the same Blender without the farm: it makes the scenes and the references. */
export function renderRuntimeConformance(
  name: string,
  makeRuntime: RuntimeMaker,
  bare: BareBlender = localBlender,
): void {
  describe(`${name}: render runtime`, { timeout: TIMEOUT_MS }, () => {
    const make = (folder: string) => makeFixtures(folder, bare);
    const bench = makeBench(makeRuntime, { make, slow: 'plain' });
    portContract(bench);
    picturesConformance(bench, bare);
    inspectConformance(bench);
    renderConformance(bench);
    refusalConformance(bench);
    endingContract(bench);
    endingConformance(bench);
    startingConformance(bench);
  });
}
