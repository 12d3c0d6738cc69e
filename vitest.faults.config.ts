import { defineConfig } from 'vitest/config';

/** `npm run test:faults`: kills at random. Not part of `npm test`, which has to say the same thing twice. */
export default defineConfig({
  test: {
    include: ['test/faults/*.fault.ts'],
    globalSetup: ['test/support/build-programs.ts', 'test/support/run-folder.ts'],
    // A job, a few kills in it, and what a busy machine makes of both.
    testTimeout: 900_000,
    hookTimeout: 900_000,
    // A farm takes both processors; two of them would only be slow.
    maxWorkers: 1,
    fileParallelism: false,
    reporters: ['verbose'],
  },
});
