import { defineConfig } from 'vitest/config';

const source = (path: string) => new URL(path, import.meta.url).pathname;

export default defineConfig({
  // Examples import the package, as it is in the checkout.
  resolve: {
    alias: [
      { find: /^keelson\/cni$/, replacement: source('src/cni/index.ts') },
      { find: /^keelson\/cni\/plugin$/, replacement: source('src/cni/kit/index.ts') },
      { find: /^keelson\/csi\/driver$/, replacement: source('src/csi/kit/index.ts') },
    ],
  },
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts'],
    // Every test makes its own directories, networks and names, so that files may run side
    // by side; most of them wait for programs.
    maxWorkers: 3,
    pool: 'forks',
    // As src/main.ts has it.
    execArgv: ['--no-wasm-code-gc'],
    testTimeout: 30_000,
    // On a busy machine real programs are now and then late. The report marks what was retried.
    retry: 1,
    hookTimeout: 60_000,
    // Looks at the whole machine, so only where nobody else works on it: see scripts/test.sh.
    globalSetup: process.env['LEAK_CHECK'] === 'on' ? ['test/harness/leak-check.ts'] : [],
  },
});
