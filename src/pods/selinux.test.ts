import { expect, test } from 'vitest';
import type { SelinuxOptions } from './config.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';
import { freeLevel, labelsOf, parseContexts, selinuxLabels } from './selinux.ts';

const CONTEXTS = `
process = "system_u:system_r:container_t:s0"
content = "system_u:object_r:virt_var_lib_t:s0"
file = "system_u:object_r:container_file_t:s0"
`;

const DEFAULTS = {
  process: 'system_u:system_r:container_t:s0',
  file: 'system_u:object_r:container_file_t:s0',
};

const NONE: SelinuxOptions = { user: '', role: '', type: '', level: '' };

const sandbox = (selinux?: SelinuxOptions) =>
  ({ config: { security: { selinux } }, selinuxLevel: 's0:c1,c2' }) as unknown as SandboxRecord;

test('the labels of containers are read from the policy', () => {
  expect(parseContexts(CONTEXTS)).toEqual(DEFAULTS);
  expect(parseContexts('process = "a:b:c:s0"')).toBeUndefined();
});

test("a container has the policy's labels with the pod's own level", () => {
  expect(selinuxLabels(DEFAULTS, sandbox(), undefined)).toEqual({
    process: 'system_u:system_r:container_t:s0:c1,c2',
    mount: 'system_u:object_r:container_file_t:s0:c1,c2',
  });
});

test('options replace parts of them, those of the container before those of the pod', () => {
  const pod = { ...NONE, type: 'spc_t', level: 's0:c7,c8' };
  expect(selinuxLabels(DEFAULTS, sandbox(pod), undefined)).toEqual({
    process: 'system_u:system_r:spc_t:s0:c7,c8',
    mount: 'system_u:object_r:container_file_t:s0:c7,c8',
  });
  const own = { ...NONE, user: 'staff_u', role: 'staff_r' };
  expect(selinuxLabels(DEFAULTS, sandbox(pod), own)).toEqual({
    process: 'staff_u:staff_r:container_t:s0:c1,c2',
    mount: 'staff_u:object_r:container_file_t:s0:c1,c2',
  });
});

test('of a privileged container the files have a label and the process has none', () => {
  const container = (privileged: boolean) =>
    ({ config: { security: { privileged } } }) as unknown as ContainerRecord;
  const mount = 'system_u:object_r:container_file_t:s0:c1,c2';
  expect(labelsOf(DEFAULTS, sandbox(), container(true))).toEqual({ mount });
  expect(labelsOf(DEFAULTS, sandbox(), container(false))).toEqual({
    process: 'system_u:system_r:container_t:s0:c1,c2',
    mount,
  });
  expect(labelsOf(undefined, sandbox(), container(true))).toBeUndefined();
});

test('no two pods get the same level', () => {
  const levels = new Set<string>();
  for (let count = 0; count < 1000; count++) levels.add(freeLevel(levels));
  expect(levels.size).toBe(1000);
  for (const level of levels) {
    const [, low, high] = /^s0:c(\d+),c(\d+)$/.exec(level)!;
    expect(Number(low)).toBeLessThan(Number(high));
    expect(Number(high)).toBeLessThan(1024);
  }
});
