import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CgroupMigrations } from './cgroup-migrations.ts';
import { cgroupLayout } from './cgroups.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-cgroups-'));
});
afterAll(() => rm(directory, { recursive: true }));

test.each([
  ['unified', '', '0::/system.slice/keelson.service\n'],
  ['legacy', 'cpuacct', '5:memory:/elsewhere\n4:cpu,cpuacct:/system.slice/keelson.service\n'],
] as const)('it moves itself to where it is: %s', async (mode, tree, text) => {
  const own = join(directory, mode, 'system.slice/keelson.service');
  await mkdir(own, { recursive: true });
  await writeFile(join(own, 'cgroup.procs'), '');
  const mountpoints = new Map([[tree, join(directory, mode)]]);
  await using migrations = await CgroupMigrations.open({ mode, mountpoints }, text);
  migrations.expect();
  await expect.poll(() => readFile(join(own, 'cgroup.procs'), 'utf8')).toBe(String(process.pid));
});

test('where there is no such cgroup, nothing happens', async () => {
  const mountpoints = new Map([['', join(directory, 'nothing')]]);
  await using migrations = await CgroupMigrations.open({ mode: 'unified', mountpoints }, '0::/\n');
  migrations.expect();
});

test('this process stays where it is', async () => {
  const before = await readFile('/proc/self/cgroup', 'utf8');
  await using migrations = await CgroupMigrations.open(cgroupLayout());
  for (let i = 0; i < 3; i++) migrations.expect();
  expect(await readFile('/proc/self/cgroup', 'utf8')).toBe(before);
});
