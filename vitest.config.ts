import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    // Integration tests share one kernel: files run one after the other.
    fileParallelism: false,
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Looks at the whole machine, so only where nobody else works on it: see scripts/test.sh.
    globalSetup: process.env['LEAK_CHECK'] === 'on' ? ['test/harness/leak-check.ts'] : [],
  },
});
