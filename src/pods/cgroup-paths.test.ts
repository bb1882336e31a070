import { describe, expect, test } from 'vitest';
import { cgroupDirectoryOf, cgroupParentFor, cgroupsPathOf } from './cgroup-paths.ts';

describe('the parent of a pod’s cgroups', () => {
  test.each([
    ['cgroupfs', '', '/keelson/id'],
    ['cgroupfs', '/kubepods/burstable/pod1', '/kubepods/burstable/pod1'],
    ['cgroupfs', 'kubepods//pod1/', '/kubepods/pod1'],
    ['cgroupfs', '/', '/'],
    ['systemd', '', 'system.slice'],
    ['systemd', 'kubepods-pod1.slice', 'kubepods-pod1.slice'],
    ['systemd', '/kubepods-pod1.slice', 'kubepods-pod1.slice'],
    ['systemd', '/kubepods.slice/kubepods-pod1.slice', 'kubepods-pod1.slice'],
  ] as const)('with %s and %j asked is %s', (driver, wanted, parent) => {
    expect(cgroupParentFor(driver, wanted, 'id')).toBe(parent);
  });

  test.each([
    ['cgroupfs', '/kubepods/../../etc'],
    ['cgroupfs', '..'],
    ['systemd', '/kubepods/burstable/pod1'],
    ['systemd', '.slice'],
    ['systemd', 'kubepods'],
    ['systemd', 'a:b.slice'],
    ['systemd', '/elsewhere/kubepods-pod1.slice'],
    ['systemd', '/kubepods.slice/../kubepods-pod1.slice'],
  ] as const)('with %s cannot be %j', (driver, wanted) => {
    expect(() => cgroupParentFor(driver, wanted, 'id')).toThrow(
      `Cannot use cgroup parent "${wanted}"`,
    );
  });
});

test.each([
  ['cgroupfs', '/kubepods/pod1', '/kubepods/pod1/id', '/kubepods/pod1/id'],
  ['cgroupfs', '/', '/id', '/id'],
  ['systemd', 'system.slice', 'system.slice:keelson:id', '/system.slice/keelson-id.scope'],
  [
    ...['systemd', 'kubepods-burstable-pod1.slice', 'kubepods-burstable-pod1.slice:keelson:id'],
    '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/keelson-id.scope',
  ],
] as ['cgroupfs' | 'systemd', string, string, string][])(
  'with %s a cgroup below %s is %s and lies at %s',
  (driver, parent, path, directory) => {
    expect(cgroupsPathOf(driver, parent, 'id')).toBe(path);
    expect(cgroupDirectoryOf(path)).toBe(directory);
  },
);
