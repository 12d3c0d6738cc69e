import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/build-programs.ts'],
    // Tests with a whole farm, or with real Blender, on two cores that other tests use as well.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // Each file has processes of its own (Blender, chain, message server); more files at a time would only queue.
    maxWorkers: 2,
    reporters: ['default'],
  },
});
