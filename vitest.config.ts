import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What starts Blender or a farm takes minutes; begun last it would run alone while a processor waits. */
const LONG = /\/test\/(farm|render|hostile)\//;

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = (file: TestSpecification): number =>
      file.moduleId.includes('/render/docker.') ? 0 : LONG.test(file.moduleId) ? 1 : 2;
    return sorted.toSorted((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/build-programs.ts'],
    // Tests with a whole farm, or with real Blender, on two cores that other tests use as well.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    // Each file has processes of its own (Blender, chain, message server); more files at a time would only queue.
    maxWorkers: 2,
    sequence: { sequencer: LongFirst },
    reporters: ['default'],
  },
});
