import { existsSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cgroupLayout } from './cgroups.ts';
import { withoutHybridCgroups } from './hybrid-cgroups.ts';
import { run } from './run.ts';

const { mode } = cgroupLayout();
const mountNamespace = () => readlinkSync('/proc/thread-self/ns/mnt');

test('what is launched runs, and the caller is back home', () => {
  const home = mountNamespace();
  expect(withoutHybridCgroups(() => 'launched')).toBe('launched');
  expect(mountNamespace()).toBe(home);
});

test('the caller is back home when launching fails', () => {
  const home = mountNamespace();
  const launch = () => {
    throw new Error('no');
  };
  expect(() => withoutHybridCgroups(launch)).toThrow('no');
  expect(mountNamespace()).toBe(home);
});

test.skipIf(mode !== 'hybrid')('a program sees v1 cgroups and no v2 tree', async () => {
  const script = 'test -e /sys/fs/cgroup/unified/cgroup.procs && echo v2; ls /sys/fs/cgroup/memory';
  const hidden = await run('sh', ['-c', script], { hideHybridCgroups: true });
  expect(hidden.stdout.toString()).toContain('memory.limit_in_bytes');
  expect(hidden.stdout.toString()).not.toContain('v2');
  const plain = await run('sh', ['-c', script]);
  expect(plain.stdout.toString()).toContain('v2');
});

test.skipIf(mode !== 'hybrid')('what a program makes there is gone with it', async () => {
  const name = `keelson-test-${process.pid}`;
  const place = `/sys/fs/cgroup/unified/${name}`;
  const made = await run('mkdir', [place], { hideHybridCgroups: true });
  expect(made.code).toBe(0);
  const left = [place, `/sys/fs/cgroup/${name}`].filter((path) => existsSync(path));
  for (const path of left) rmdirSync(path);
  expect(left).toEqual([]);
});

test('the mounts of the host stay as they are', () => {
  // Elsewhere others may mount at the same time.
  const mounts = () =>
    readFileSync('/proc/thread-self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(' /sys/fs/cgroup'));
  const before = mounts();
  withoutHybridCgroups(() => {});
  expect(mounts()).toEqual(before);
});
