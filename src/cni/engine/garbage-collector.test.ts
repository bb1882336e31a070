import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SILENT } from '../../base/index.ts';
import { AttachmentRecords } from './attachment-records.ts';
import { CniRuntime } from './cni-runtime.ts';
import { GarbageCollector } from './garbage-collector.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-cni-'));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});

afterEach(async () => {
  vi.useRealTimers();
  await rm(directory, { recursive: true });
});

function collector(detach: (containerId: string) => Promise<void>): GarbageCollector {
  const invoker = { invoke: vi.fn(), find: vi.fn(), versions: vi.fn() };
  return new GarbageCollector({
    runtime: new CniRuntime({ invoker, binDirs: [], cacheDir: directory }),
    records: new AttachmentRecords(directory, SILENT),
    logger: SILENT,
    networks: async () => [],
    detach,
  });
}

test('what could not be removed is tried again, less and less often, until it is gone', async () => {
  let tries = 0;
  await using garbage = collector(async (containerId) => {
    if (++tries < 4) throw new Error('busy');
    garbage.forget(containerId);
  });
  garbage.add('c1');
  const expected: [delay: number, tries: number][] = [
    [29_999, 0],
    [1, 1],
    [59_999, 1],
    [1, 2],
    [120_000, 3],
    [240_000, 4],
  ];
  for (const [delay, number] of expected) {
    await vi.advanceTimersByTimeAsync(delay);
    expect(tries).toBe(number);
  }
  expect(vi.getTimerCount()).toBe(0);
});

test('closing ends the retries', async () => {
  const detach = vi.fn();
  {
    await using garbage = collector(detach);
    garbage.add('c1');
    expect(vi.getTimerCount()).toBe(1);
  }
  expect(vi.getTimerCount()).toBe(0);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(detach).not.toHaveBeenCalled();
});
