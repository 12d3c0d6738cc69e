import { defineConfig } from 'vitest/config';

/** `npm run test:faults`: things break at random moments. Not part of `npm test`, which has to say the same thing twice. */
export default defineConfig({
  test: {
    include: ['test/faults/*.fault.ts'],
    globalSetup: ['test/support/build-programs.ts', 'test/support/run-folder.ts'],
    // Twenty times two jobs with a fault in them, and what a busy machine makes of that.
    testTimeout: 3_600_000,
    hookTimeout: 900_000,
    // A farm takes both processors; two of them would only be slow.
    maxWorkers: 1,
    fileParallelism: false,
    reporters: ['verbose'],
  },
});
