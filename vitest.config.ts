import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    globalSetup: ["test/cluster/teardown.ts"],
    include: ["test/**/*.test.ts"],
    // Two cores: real processes in one file already use both.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
