import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { newId } from '../base/index.ts';
import {
  type CgroupLayout,
  cgroupDirectories,
  cgroupLayout,
  controllerDirectory,
  killCgroup,
  missingCgroupDirectories,
  processesOf,
  removeCgroupDirectories,
} from './cgroups.ts';
import { listMounts, parseMountInfo } from './mounts.ts';
import { exitOf, killGroup, start } from './start.ts';

const V2 = '35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n';
const HYBRID = `30 23 0:25 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:27 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd
36 30 0:31 / /sys/fs/cgroup/memory rw,nosuid shared:15 - cgroup cgroup rw,memory
37 30 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:16 - cgroup cgroup rw,cpu,cpuacct
38 30 0:33 / /sys/fs/cgroup/pids rw,nosuid shared:17 - cgroup cgroup rw,pids
`;
const LEGACY = HYBRID.split('\n')
  .filter((line) => !line.includes('cgroup2'))
  .join('\n');
const AGENT = '700 24 0:30 / /run/cilium/cgroupv2 rw shared:300 - cgroup2 none rw\n';
const STRAY_V1 = '701 24 0:99 / /opt/vpn/net_cls rw shared:301 - cgroup cgroup rw,net_cls\n';

const layoutOf = (mountinfo: string) => cgroupLayout(parseMountInfo(mountinfo));

describe('the layout', () => {
  test.each([
    ['systemd with cgroup v2', V2, 'unified'],
    ['a v2 tree beside v1 controllers', HYBRID, 'hybrid'],
    ['v1 alone', LEGACY, 'legacy'],
    ['v2 that a network agent mounted once more', V2 + AGENT, 'unified'],
    ['v2 and a v1 controller that somebody mounted', V2 + STRAY_V1, 'unified'],
  ])('of %s is known', (_host, mountinfo, mode) => expect(layoutOf(mountinfo).mode).toBe(mode));

  test('knows a tree by its first mount', () => {
    expect(layoutOf(V2 + AGENT).mountpoints.get('')).toBe('/sys/fs/cgroup');
  });

  test('finds v1 controllers by name, also those that share a tree', () => {
    const layout = layoutOf(HYBRID);
    expect(controllerDirectory(layout, 'cpu', '/pod')).toBe('/sys/fs/cgroup/cpu,cpuacct/pod');
    expect(controllerDirectory(layout, 'cpuacct', '/pod')).toBe('/sys/fs/cgroup/cpu,cpuacct/pod');
    expect(controllerDirectory(layout, 'hugetlb', '/pod')).toBeUndefined();
  });

  test('has all controllers of v2 in one tree', () => {
    expect(controllerDirectory(layoutOf(V2), 'memory', '/pod')).toBe('/sys/fs/cgroup/pod');
  });

  test('has one directory in each tree', () => {
    const trees = ['unified', 'systemd', 'memory', 'cpu,cpuacct', 'pids'];
    expect(cgroupDirectories(layoutOf(HYBRID), '/pod')).toEqual(
      trees.map((tree) => `/sys/fs/cgroup/${tree}/pod`),
    );
  });
});

describe('directories', () => {
  let root: string;
  let layout: CgroupLayout;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'keelson-cgroups-'));
    await mkdir(join(root, 'memory'));
    await mkdir(join(root, 'pids'));
    const places = ['memory', 'pids'].map((name): [string, string] => [name, join(root, name)]);
    layout = { mode: 'legacy', mountpoints: new Map(places) };
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  test('that are missing are named, outermost first', async () => {
    await mkdir(join(root, 'memory/kubepods'));
    expect(missingCgroupDirectories(layout, '/kubepods/pod')).toEqual([
      join(root, 'memory/kubepods/pod'),
      join(root, 'pids/kubepods'),
      join(root, 'pids/kubepods/pod'),
    ]);
  });

  test('are removed innermost first, but for those that others use', async () => {
    const made = missingCgroupDirectories(layout, '/kubepods/pod');
    for (const directory of made) await mkdir(directory);
    await mkdir(join(root, 'pids/kubepods/other'));
    removeCgroupDirectories(made);
    expect(existsSync(join(root, 'memory/kubepods'))).toBe(false);
    expect(existsSync(join(root, 'pids/kubepods/pod'))).toBe(false);
    expect(existsSync(join(root, 'pids/kubepods/other'))).toBe(true);
    removeCgroupDirectories(made);
  });

  test('tell their processes and those below, but none of another PID namespace', async () => {
    await mkdir(join(root, 'pids/pod/container'), { recursive: true });
    await writeFile(join(root, 'pids/pod/cgroup.procs'), '12\n0\n');
    await writeFile(join(root, 'pids/pod/container/cgroup.procs'), '0\n34\n');
    expect(await processesOf(layout, '/pod')).toEqual([12, 34]);
    expect(await processesOf(layout, '/gone')).toEqual([]);
  });
});

describe('killing', () => {
  const host = cgroupLayout();
  const v2 = listMounts().find((mount) => mount.type === 'cgroup2')?.target;
  const layouts: [string, CgroupLayout][] = [
    ['by its processes', { mode: 'legacy', mountpoints: host.mountpoints }],
    ['at once', { mode: 'unified', mountpoints: new Map([['', v2 ?? '']]) }],
  ];

  test.skipIf(host.mode !== 'hybrid').each(layouts)(
    'a cgroup takes all below it, %s',
    async (_how, layout) => {
      const path = `/keelson-test-${newId().slice(0, 12)}`;
      const tree = layout.mountpoints.get(layout.mode === 'unified' ? '' : 'pids') ?? '';
      const places = [join(tree, path), join(tree, path, 'below')];
      const children = places.map(() => start('sleep', ['1000'], { stdio: 'ignore' }));
      const exits = children.map((child) => exitOf(child, 'sleep'));
      try {
        for (const [index, place] of places.entries()) {
          await mkdir(place);
          await writeFile(join(place, 'cgroup.procs'), String(children[index]?.pid));
        }
        await killCgroup(layout, path);
        expect((await Promise.all(exits)).map(({ signal }) => signal)).toEqual([
          'SIGKILL',
          'SIGKILL',
        ]);
      } finally {
        for (const child of children) killGroup(child.pid);
        await Promise.all(exits);
        for (const place of places.reverse()) await rmdir(place);
      }
    },
  );

  test('a cgroup that is gone is fine', async () => {
    await killCgroup(host, '/keelson-no-such-cgroup');
    await killCgroup({ mode: 'unified', mountpoints: new Map([['', '/nonexistent']]) }, '/x');
  });
});
