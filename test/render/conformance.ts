/** What every render runtime has to do, with real Blender. Call it with a way to make the runtime. */
import { describe } from 'vitest';
import { makeBench, type RuntimeMaker, TIMEOUT_MS } from './conformance/bench.ts';
import { endingConformance } from './conformance/ending.ts';
import { inspectConformance } from './conformance/inspecting.ts';
import { picturesConformance } from './conformance/pictures.ts';
import { refusalConformance } from './conformance/refusing.ts';
import { renderConformance } from './conformance/rendering.ts';
import { type BareBlender, localBlender } from './support.ts';

/** The tests of one runtime. `bare` is the same Blender without the farm: it makes the scenes and the references. */
export function renderRuntimeConformance(
  name: string,
  makeRuntime: RuntimeMaker,
  bare: BareBlender = localBlender,
): void {
  describe(`${name}: render runtime`, { timeout: TIMEOUT_MS }, () => {
    const bench = makeBench(makeRuntime, bare);
    picturesConformance(bench);
    inspectConformance(bench);
    renderConformance(bench);
    refusalConformance(bench);
    endingConformance(bench);
  });
}
