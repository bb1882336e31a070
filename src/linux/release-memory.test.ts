import { expect, test } from 'vitest';
import { run } from './run.ts';

const MODULE = new URL('./release-memory.ts', import.meta.url).href;

/** Makes garbage that V8 has no reason to collect, and pieces that the C library keeps. */
const PROGRAM = `
  import { releaseMemory } from '${MODULE}';
  const rss = () => process.memoryUsage().rss / 2 ** 20;
  let kept = Array.from({ length: 400_000 }, (_, index) => ({ text: String(index) + 'x' }));
  const before = rss();
  kept = undefined;
  releaseMemory();
  console.log(before - rss());
`;

test('what is no longer used is given back to the kernel', async () => {
  const args = ['--expose-gc', '--input-type=module', '--eval', PROGRAM];
  const { stdout } = await run(process.execPath, args, { signal: AbortSignal.timeout(20_000) });
  expect(Number(stdout.toString())).toBeGreaterThan(10);
});
