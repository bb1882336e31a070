import { defineConfig } from 'vitest/config';

const source = (path: string) => new URL(path, import.meta.url).pathname;

export default defineConfig({
  // Examples import the package, as it is in the checkout.
  resolve: {
    alias: [
      { find: /^keelson\/cni$/, replacement: source('src/cni/index.ts') },
      { find: /^keelson\/cni\/plugin$/, replacement: source('src/cni/kit/index.ts') },
    ],
  },
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts'],
    // Integration tests share one kernel: files run one after the other.
    fileParallelism: false,
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Looks at the whole machine, so only where nobody else works on it: see scripts/test.sh.
    globalSetup: process.env['LEAK_CHECK'] === 'on' ? ['test/harness/leak-check.ts'] : [],
  },
});
