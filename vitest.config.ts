import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Begun last, a file of minutes would run alone while a processor waits. These take longest, in this order. */
const LONGEST = [
  ...['render/docker', 'hostile/docker', 'render/simulations', 'render/process', 'hostile/process'],
  ...['farm/samples-equal-blender', 'render/odd-cases', 'render/samples', 'farm/extra-files', 'farm/audit'],
  ...['farm/two-engines', 'farm/up', 'farm/whole-frames', 'farm/bad-input', 'farm/killed'],
].map((name) => `/test/${name}.test.ts`);
/** Of the rest, what starts Blender or a farm. */
const LONG = /\/test\/(farm|render|hostile)\//;

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => rankOf(a.moduleId) - rankOf(b.moduleId));
  }
}

function rankOf(file: string): number {
  const place = LONGEST.findIndex((one) => file.endsWith(one));
  if (place >= 0) return place;
  return LONG.test(file) ? LONGEST.length : LONGEST.length + 1;
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/build-programs.ts', 'test/support/run-folder.ts'],
    // Tests with a whole farm, or with real Blender, on two cores that other tests use as well.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    // For two cores. A file often waits: for its farm's timers, a container, or the one thread in which Blender loads a
    // scene. Two at a time used 23 of the 51 processor minutes of a whole run (containers come on top).
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
    reporters: ['default'],
  },
});
