/** What the port promises (platform/render/runtime.ts), whatever makes the pixels. */
import { describe } from 'vitest';
import { type Bench, makeBench, type RuntimeMaker, type Scenes, TIMEOUT_MS } from './bench.ts';
import { endingContract } from './contract/ending.ts';
import { finishContract } from './contract/finishing.ts';
import { refusalContract } from './contract/refusing.ts';
import { renderContract } from './contract/rendering.ts';

/**
 * All but how sessions end, which comes last: sessions that tests share would be in its way. Needs the scenes plain (97 x
 * 55, 8 samples), composite, composite-crop (a region) and border (a region).
 */
export function portContract(bench: Bench): void {
  renderContract(bench);
  finishContract(bench);
  refusalContract(bench);
}

/** The contract alone, for a runtime without Blender. */
export function portConformance(name: string, makeRuntime: RuntimeMaker, scenes: Scenes): void {
  describe(`${name}: render runtime`, { timeout: TIMEOUT_MS }, () => {
    const bench = makeBench(makeRuntime, scenes);
    portContract(bench);
    endingContract(bench);
  });
}
