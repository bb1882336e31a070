import { expect, test } from 'vitest';
import { SILENT } from '../../base/index.ts';
import { Reconciler, type ReconcilerOptions } from './reconciler.ts';

const tick = () => new Promise((resolve) => setTimeout(resolve, 1));

async function idle(reconciler: Reconciler): Promise<void> {
  while (!reconciler.isIdle) await tick();
}

function start(
  reconcile: ReconcilerOptions['reconcile'],
  changes: Partial<ReconcilerOptions> = {},
): Reconciler {
  const backOff = { first: 1, longest: 4 };
  return new Reconciler({
    name: 'test',
    logger: SILENT,
    backOff,
    workers: 2,
    reconcile,
    ...changes,
  });
}

test('a key that fails is tried again until it succeeds, and each failure is told', async () => {
  let attempts = 0;
  const failures: string[] = [];
  await using reconciler = start(
    async () => {
      attempts++;
      if (attempts < 5) throw new Error(`attempt ${attempts}`);
    },
    { failed: (_, error) => failures.push((error as Error).message) },
  );
  reconciler.enqueue('a');
  await idle(reconciler);
  expect(attempts).toBe(5);
  expect(failures).toEqual(['attempt 1', 'attempt 2', 'attempt 3', 'attempt 4']);
});

test('a key never runs twice at once, and once more if it was asked for meanwhile', async () => {
  let running = 0;
  let runs = 0;
  const { promise: go, resolve } = Promise.withResolvers<void>();
  await using reconciler = start(async () => {
    running++;
    expect(running).toBe(1);
    runs++;
    await go;
    running--;
  });
  reconciler.enqueue('a');
  await tick();
  for (let i = 0; i < 5; i++) reconciler.enqueue('a');
  resolve();
  await idle(reconciler);
  expect(runs).toBe(2);
});

test('no more keys than workers run at once; all have their turn', async () => {
  let running = 0;
  let most = 0;
  const done = new Set<string>();
  await using reconciler = start(async (key) => {
    running++;
    most = Math.max(most, running);
    await tick();
    running--;
    done.add(key);
  });
  for (let i = 0; i < 9; i++) reconciler.enqueue(`key-${i}`);
  await idle(reconciler);
  expect(done.size).toBe(9);
  expect(most).toBe(2);
});

test('asking during a pause does not shorten it, asking for a retry does', async () => {
  let attempts = 0;
  await using reconciler = start(
    async () => {
      attempts++;
      if (attempts === 1) throw new Error('once');
    },
    { backOff: { first: 3_600_000, longest: 3_600_000 } },
  );
  reconciler.enqueue('a');
  await tick();
  reconciler.enqueue('a');
  await tick();
  expect([attempts, reconciler.isIdle]).toEqual([1, false]);
  reconciler.retryAll();
  await idle(reconciler);
  expect(attempts).toBe(2);
});

test('closing aborts what is under way and waits for it', async () => {
  let ended = false;
  const reconciler = start(async (_, signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    ended = true;
  });
  reconciler.enqueue('a');
  await tick();
  await reconciler[Symbol.asyncDispose]();
  expect(ended).toBe(true);
  reconciler.enqueue('b');
  await tick();
});
