import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ContainerConfig, DeepPartial, Mount } from '../../src/gen/runtime/v1/api.ts';
import { MountPropagation } from '../../src/gen/runtime/v1/api.ts';
import { busyboxImage } from '../fixtures/image.ts';
import {
  containerConfig,
  createContainer,
  output,
  type Pod,
  runContainer,
  runPod,
} from '../harness/index.ts';
import { gvisorRefuses, onGvisor } from './gvisor-limits.ts';
import { codeOf, criSuite, execIn, runToEnd, shell, statusOf } from './suite.ts';

const suite = criSuite();
const { PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL } = MountPropagation;
let pod: Pod;
let host: string;
/** A mount that shares its propagation. */
let shared: string;

beforeAll(async () => {
  pod = await runPod(suite.daemon, { linux: { securityContext: { privileged: true } } });
  host = join(suite.daemon.directory, 'host');
  shared = join(suite.daemon.directory, 'shared');
  await mkdir(host);
  await mkdir(shared);
  await output('mount', '-t', 'tmpfs', 'keelson-test', shared);
  await output('mount', '--make-shared', shared);
});
afterAll(async () => {
  await output('umount', '-R', shared);
});

async function say(script: string, mounts: DeepPartial<Mount>[]): Promise<string[]> {
  const changes = { ...shell(`{ ${script}; } 2>&1`), mounts };
  return (await runToEnd(suite.daemon, pod, suite.image, changes)).lines;
}

function refusal(mount: DeepPartial<Mount>): Promise<string> {
  const config = containerConfig(suite.image, { mounts: [mount] });
  return codeOf(createContainer(suite.daemon, pod, config));
}

test('a directory of the host is mounted, and written through', async () => {
  const hostPath = join(host, 'plain');
  await mkdir(hostPath);
  await writeFile(join(hostPath, 'in'), 'from the host\n');
  const mount = { containerPath: '/data', hostPath };
  expect(await say('cat /data/in; echo back > /data/out', [mount])).toEqual(['from the host']);
  expect(await readFile(join(hostPath, 'out'), 'utf8')).toBe('back\n');
});

test('a single file is mounted, also over one of the image', async () => {
  const hostPath = join(host, 'passwd');
  await writeFile(hostPath, 'me:x:5:5::/:/bin/sh\n');
  expect(await say('cat /etc/passwd', [{ containerPath: '/etc/passwd', hostPath }])).toEqual([
    'me:x:5:5::/:/bin/sh',
  ]);
});

test('a read-only mount takes no files', async () => {
  const hostPath = join(host, 'ro');
  await mkdir(hostPath);
  const mount = { containerPath: '/data', hostPath, readonly: true };
  expect((await say('touch /data/x || echo refused', [mount])).at(-1)).toBe('refused');
});

test('a source that is a link is followed; the status has what was asked', async () => {
  await mkdir(join(host, 'target'));
  await writeFile(join(host, 'target/file'), 'behind the link\n');
  await symlink('target', join(host, 'link'));
  const mount = { containerPath: '/data', hostPath: join(host, 'link') };
  const config = containerConfig(suite.image, { mounts: [mount] });
  const id = await runContainer(suite.daemon, pod, config);
  expect(await execIn(suite.daemon, id, 'cat /data/file')).toBe('behind the link');
  expect((await statusOf(suite.daemon, id)).mounts).toEqual(config.mounts);
});

test('a source that is missing is made as a directory', async () => {
  const hostPath = join(host, 'made/on/demand');
  await say('true; echo', [{ containerPath: '/data', hostPath }]);
  const info = await stat(hostPath);
  expect(info.isDirectory()).toBe(true);
  expect(info.mode & 0o777).toBe(0o755);
});

test('mounts below mounts are all there, in whatever order they come', async () => {
  await mkdir(join(host, 'outer/inner'), { recursive: true });
  await mkdir(join(host, 'inner'));
  await writeFile(join(host, 'inner/deep'), 'deep\n');
  const lines = await say('cat /outer/inner/deep', [
    { containerPath: '/outer/inner', hostPath: join(host, 'inner') },
    { containerPath: '/outer', hostPath: join(host, 'outer') },
  ]);
  expect(lines).toEqual(['deep']);
});

test('a mount takes the place of a default one', async () => {
  for (const name of ['hosts', 'hostname', 'resolv.conf']) {
    await writeFile(join(host, name), `own ${name}\n`);
  }
  const names = ['hosts', 'hostname', 'resolv.conf'];
  const mounts = names.map((name) => ({
    containerPath: `/etc/${name}`,
    hostPath: join(host, name),
  }));
  const lines = await say('cat /etc/hosts /etc/hostname /etc/resolv.conf', mounts);
  expect(lines).toEqual(names.map((name) => `own ${name}`));
  await mkdir(join(host, 'shm'));
  await writeFile(join(host, 'shm/note'), 'own shm\n');
  const shm = { containerPath: '/dev/shm', hostPath: join(host, 'shm') };
  expect(await say('cat /dev/shm/note', [shm])).toEqual(['own shm']);
});

test('a relative path in the container is one below its root', async () => {
  await writeFile(join(host, 'relative'), 'here\n');
  const mount = { containerPath: 'srv/file', hostPath: join(host, 'relative') };
  expect(await say('cat /srv/file', [mount])).toEqual(['here']);
});

test('mount options forbid programs, set-uid bits and devices', gvisorRefuses, async () => {
  const hostPath = join(host, 'options');
  await mkdir(hostPath);
  await writeFile(join(hostPath, 'run'), '#!/bin/sh\necho ran\n', { mode: 0o755 });
  const mount = { containerPath: '/data', hostPath };
  expect(await say('/data/run', [mount])).toEqual(['ran']);
  const options = { ...mount, mountOptions: ['noexec', 'nodev', 'nosuid'] };
  expect((await say('/data/run || echo refused', [options])).at(-1)).toBe('refused');
  const [line = ''] = await say('grep " /data " /proc/mounts', [options]);
  expect(line.split(' ')[3]!.split(',')).toEqual(
    expect.arrayContaining(['noexec', 'nodev', 'nosuid']),
  );
  expect(await refusal({ ...mount, mountOptions: ['suid,exec'] })).toBe('INVALID_ARGUMENT');
});

test('propagation needs a mount that shares', gvisorRefuses, async () => {
  const hostPath = join(host, 'propagation');
  await mkdir(hostPath);
  const mount = { containerPath: '/data', hostPath };
  const below = { containerPath: '/data', hostPath: shared };
  // The temporary directory may lie on a shared mount itself.
  const under = await output('findmnt', '-no', 'PROPAGATION', '-T', hostPath);
  const expected = under.trim() === 'private' ? 'INVALID_ARGUMENT' : 'OK';
  for (const propagation of [PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL]) {
    expect(await refusal({ ...mount, propagation })).toBe(expected);
    expect(await refusal({ ...below, propagation })).toBe('OK');
  }
  expect(await refusal({ ...mount, propagation: 7 as MountPropagation })).toBe('INVALID_ARGUMENT');
});

/** A container that sleeps, with the shared mount at /data. */
function withShared(propagation: MountPropagation): Promise<string> {
  const config: DeepPartial<ContainerConfig> = {
    mounts: [{ containerPath: '/data', hostPath: shared, propagation }],
    linux: { securityContext: { privileged: true } },
  };
  return runContainer(suite.daemon, pod, containerConfig(suite.image, config));
}

test(
  'mounts of the host reach containers that ask for them, and no others',
  gvisorRefuses,
  async () => {
    const receives = await withShared(PROPAGATION_HOST_TO_CONTAINER);
    const closed = await withShared(MountPropagation.PROPAGATION_PRIVATE);
    const place = join(shared, 'late');
    await mkdir(place);
    await output('mount', '-t', 'tmpfs', 'keelson-late', place);
    const count = 'grep -c keelson-late /proc/mounts || true';
    expect(await execIn(suite.daemon, receives, count)).toBe('1');
    expect(await execIn(suite.daemon, closed, count)).toBe('0');
    await execIn(suite.daemon, receives, 'mkdir /data/own && mount -t tmpfs keelson-own /data/own');
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain('keelson-own');
    await output('umount', place);
    expect(await execIn(suite.daemon, receives, count)).toBe('0');
  },
);

test('mounts of a container reach the host when it may', gvisorRefuses, async () => {
  const id = await withShared(PROPAGATION_BIDIRECTIONAL);
  await execIn(suite.daemon, id, 'mkdir /data/up && mount -t tmpfs keelson-up /data/up');
  expect(await readFile('/proc/self/mountinfo', 'utf8')).toContain(join(shared, 'up'));
  await execIn(suite.daemon, id, 'umount /data/up');
  expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(join(shared, 'up'));
});

test('recursive read-only mounts: as Status says, else refused by name', async () => {
  const { runtimeHandlers } = await suite.daemon.runtime.status();
  const able = runtimeHandlers.find(({ name }) => name === '')!.features!.recursiveReadOnlyMounts;
  const inner = join(shared, 'outer/inner');
  await mkdir(inner, { recursive: true });
  await output('mount', '-t', 'tmpfs', 'keelson-inner', inner);
  const mount = { containerPath: '/data', hostPath: join(shared, 'outer'), readonly: true };
  const write = 'touch /data/x || echo outer; touch /data/inner/x || echo inner';
  const refused = async (given: DeepPartial<Mount>) =>
    (await say(write, [given])).filter((line) => line === 'outer' || line === 'inner');
  // In gVisor a read-only mount is so with all that is mounted below.
  expect(await refused(mount)).toEqual(onGvisor ? ['outer', 'inner'] : ['outer']);
  const recursive = { ...mount, recursiveReadOnly: true };
  const config = (given: DeepPartial<Mount>) => containerConfig(suite.image, { mounts: [given] });
  const byName = { details: expect.stringMatching(/^RROUnsupported: /) };
  if (able) {
    expect(await refused(recursive)).toEqual(['outer', 'inner']);
  } else {
    const call = createContainer(suite.daemon, pod, config(recursive));
    await expect(call).rejects.toMatchObject(byName);
  }
  const wrong = createContainer(suite.daemon, pod, config({ ...recursive, readonly: false }));
  await expect(wrong).rejects.toMatchObject(byName);
});

test('what cannot be a mount is refused', async () => {
  expect(await refusal({ containerPath: '/data' })).toBe('INVALID_ARGUMENT');
  expect(await refusal({ hostPath: host })).toBe('INVALID_ARGUMENT');
  expect(await refusal({ containerPath: '/data', hostPath: 'relative' })).toBe('INVALID_ARGUMENT');
  expect(await refusal({ containerPath: '/a\0b', hostPath: host })).toBe('INVALID_ARGUMENT');
  const mapping = [{ hostId: 1, containerId: 0, length: 1 }];
  const mapped = { containerPath: '/data', hostPath: host, uidMappings: mapping };
  expect(await refusal(mapped)).toBe('INVALID_ARGUMENT');
});

test("links in the image do not lead a mount's target out of it", async () => {
  const files = [{ path: 'escape', type: 'symlink' as const, target: '../../../../../../tmp' }];
  const image = await suite.add('escape', busyboxImage({ files }));
  const mount = { containerPath: '/escape/keelson-escaped', hostPath: host };
  await runToEnd(suite.daemon, pod, image, { ...shell('true'), mounts: [mount] }).catch(() => {});
  await expect(stat('/tmp/keelson-escaped')).rejects.toThrow();
});
