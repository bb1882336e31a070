import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cgroupDirectories, cgroupLayout } from '../../src/linux/index.ts';
import type { RuntimeConfig } from '../../src/oci/spec/index.ts';
import { criSuite, execIn, statusOf } from '../cri/suite.ts';
import {
  ConnectedPlugin,
  containerConfig,
  createContainer,
  type Pod,
  runContainer,
  runPod,
} from '../harness/index.ts';

const cdiDirectory = await mkdtemp(join(tmpdir(), 'keelson-nri-cdi-'));
const suite = criSuite({ config: `[containers]\ncdi_spec_dirs = ["${cdiDirectory}"]\n` });
const MEBIBYTE = 1 << 20;
let plugin: ConnectedPlugin;

beforeAll(async () => {
  plugin = await ConnectedPlugin.connect(suite.daemon, '10-adjuster');
});

afterAll(async () => {
  await plugin[Symbol.asyncDispose]();
  await rm(cdiDirectory, { recursive: true });
});

/** From now on new containers are adjusted like that. */
function adjust(adjustment: object, more: object = {}): Promise<void> {
  return plugin.behave({ CreateContainer: { respond: { adjust: adjustment, ...more } } });
}

async function specOf(id: string): Promise<RuntimeConfig> {
  const file = join(suite.daemon.paths.state, 'containers', id, 'bundle/config.json');
  return JSON.parse(await readFile(file, 'utf8')) as RuntimeConfig;
}

/** Two processes, a file to mount, and a directory for what hooks write. */
function everything(directory: string, pod: Pod) {
  return {
    annotations: { 'example.org/added': 'yes', '-io.kubernetes.cri.image-name': '' },
    mounts: [
      { destination: '/added', type: 'bind', source: '/etc', options: ['rbind', 'ro'] },
      { destination: '-/etc/resolv.conf' },
    ],
    env: [{ key: 'ADDED', value: 'a b' }, { key: '-GONE' }, { key: 'CHANGED', value: 'new' }],
    args: ['', '/bin/sleep', '12345'],
    hooks: {
      createRuntime: [
        {
          path: '/bin/sh',
          args: ['sh', '-c', `cat > ${directory}/hook-state`],
          timeout: { value: 5 },
        },
      ],
    },
    rlimits: [{ type: 'RLIMIT_NOFILE', hard: 777, soft: 555 }],
    linux: {
      devices: [
        {
          path: '/dev/added',
          type: 'c',
          major: 1,
          minor: 5,
          fileMode: { value: 0o640 },
          gid: { value: 7 },
        },
      ],
      resources: {
        memory: { limit: { value: 64 * MEBIBYTE }, reservation: { value: 32 * MEBIBYTE } },
        cpu: {
          shares: { value: 333 },
          quota: { value: 60_000 },
          period: { value: 100_000 },
          cpus: '0',
        },
        pids: { limit: 77 },
      },
      cgroupsPath: `/nri-${pod.id}/below/adjusted`,
      oomScoreAdj: { value: 444 },
      sysctl: { 'net.ipv4.ip_unprivileged_port_start': '79' },
      namespaces: [{ type: 'ipc' }, { type: '-uts' }],
      seccompPolicy: {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [
          { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: { value: 95 } },
          {
            names: ['chmod'],
            action: 'SCMP_ACT_ERRNO',
            args: [{ index: 1, value: '18446744073709551615', op: 'SCMP_CMP_EQ' }],
          },
        ],
      },
    },
  };
}

describe.each(['crun', 'runc'])('by %s', (handler) => {
  test('each field of an adjustment shows in the container', async () => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon, {}, handler);
    await adjust(everything(daemon.directory, pod));
    const envs = Object.entries({ GONE: 'x', CHANGED: 'old' }).map(([key, value]) => ({
      key,
      value: Buffer.from(value),
    }));
    const id = await runContainer(daemon, pod, containerConfig(image, { envs }));
    const inside = (script: string) => execIn(daemon, id, script);

    // A runtime does not wait for the program to take its place.
    const command = () => inside('tr "\\0" " " < /proc/1/cmdline');
    await expect.poll(command).toBe('/bin/sleep 12345 ');
    expect(await inside('echo $ADDED-$GONE-$CHANGED')).toBe('a b--new');
    expect(await inside('test -e /added/passwd && touch /added/x 2>&1 || true')).toMatch(
      'Read-only',
    );
    expect(await inside('grep -c " /etc/resolv.conf " /proc/mounts || true')).toBe('0');
    // runc lends the processes of an exec its own soft limit.
    expect(await inside('grep "open files" /proc/1/limits')).toMatch(/ 555 +777 /);
    expect(await inside('stat -c "%t:%T %a %g" /dev/added; head -c 3 /dev/added | wc -c')).toBe(
      '1:5 640 7\n3',
    );
    expect(await inside('cat /proc/1/oom_score_adj')).toBe('444');
    expect(await inside('cat /proc/sys/net/ipv4/ip_unprivileged_port_start')).toBe('79');
    expect(await inside('mkdir /tmp/x 2>&1 || true')).toMatch(/not supported/);
    const hostname = (await readFile('/proc/sys/kernel/hostname', 'utf8')).trim();
    expect(await inside('hostname')).toBe(hostname);
    expect(JSON.parse(await readFile(join(daemon.directory, 'hook-state'), 'utf8'))).toMatchObject({
      id,
    });

    const spec = await specOf(id);
    expect(spec.annotations).toMatchObject({ 'example.org/added': 'yes' });
    expect(spec.annotations).not.toHaveProperty('io.kubernetes.cri.image-name');
    expect(spec.linux.namespaces).toContainEqual({ type: 'ipc' });
    expect(await inside('cat /proc/1/cgroup')).toMatch(`/nri-${pod.id}/below/adjusted`);
    expect((await statusOf(daemon, id)).resources?.linux).toMatchObject({
      memoryLimitInBytes: BigInt(64 * MEBIBYTE),
      cpuShares: 333n,
      cpuQuota: 60_000n,
      cpusetCpus: '0',
      oomScoreAdj: 444n,
    });
    expect(spec.linux.resources).toMatchObject({
      memory: { limit: 64 * MEBIBYTE, reservation: 32 * MEBIBYTE },
      pids: { limit: 77 },
    });
    expect(plugin.requests('PostCreateContainer')[0].container).toMatchObject({
      args: ['/bin/sleep', '12345'],
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: '777', soft: '555' }],
      linux: { cgroupsPath: `/nri-${pod.id}/below/adjusted` },
    });
    await daemon.removePods();
    const places = [...cgroupLayout().mountpoints.values()];
    expect(places.filter((place) => existsSync(`${place}/nri-${pod.id}`))).toEqual([]);
  });
});

test('a CDI device is looked up, and comes with all that its document says', async () => {
  const { daemon, image } = suite;
  await writeFile(join(cdiDirectory, 'thing'), 'a library\n');
  const containerEdits = {
    env: ['THING=one', 'PATH=/bin:/thing'],
    deviceNodes: [{ path: '/dev/thing', hostPath: '/dev/full' }],
    mounts: [{ hostPath: join(cdiDirectory, 'thing'), containerPath: '/thing', options: ['ro'] }],
    additionalGids: [4711],
  };
  const devices = [{ name: 'one', containerEdits }];
  const document = { cdiVersion: '0.7.0', kind: 'vendor.example/thing', devices };
  await writeFile(join(cdiDirectory, 'thing.json'), JSON.stringify(document));
  await adjust({ CDIDevices: [{ name: 'vendor.example/thing=one' }] });
  const pod = await runPod(daemon);
  const id = await runContainer(daemon, pod, containerConfig(image));
  const seen = 'echo $THING $PATH; cat /thing; (echo x > /dev/thing) 2>&1; id -G';
  expect(await execIn(daemon, id, seen)).toMatch(
    /^one \/bin:\/thing\na library\n.*No space left on device\n.*4711/,
  );
  await daemon.removePods();
});

test('limits that a plugin set stay when others are updated, and plugins change updates', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  await adjust({ linux: { resources: { pids: { limit: 50 }, cpu: { shares: { value: 300 } } } } });
  const id = await runContainer(daemon, pod, containerConfig(image));
  await plugin.behave({
    UpdateContainer: {
      respond: {
        update: [{ containerId: id, linux: { resources: { cpu: { shares: { value: 700 } } } } }],
      },
    },
  });
  const memoryLimitInBytes = BigInt(48 * MEBIBYTE);
  await daemon.runtime.updateContainerResources({
    containerId: id,
    linux: { memoryLimitInBytes, cpuShares: 400n },
  });
  expect((await statusOf(daemon, id)).resources?.linux).toMatchObject({
    memoryLimitInBytes,
    cpuShares: 700n,
  });
  expect((await specOf(id)).linux.resources).toMatchObject({
    memory: { limit: 48 * MEBIBYTE },
    cpu: { shares: 700 },
    pids: { limit: 50 },
  });
  await daemon.removePods();
});

describe('what cannot be is refused, and nothing is left', () => {
  const used = `/keelson-used-${process.pid}`;
  const [usedDirectory = ''] = cgroupDirectories(cgroupLayout(), used);
  let pod: Pod;

  beforeAll(async () => {
    await mkdir(usedDirectory);
    pod = await runPod(suite.daemon);
  });

  afterAll(() => rmdir(usedDirectory));

  beforeEach(() => plugin.behave({}));

  test.each([
    [
      'a CDI device',
      { CDIDevices: [{ name: 'vendor.com/gpu=0' }] },
      /CDI device "vendor.com\/gpu=0"/,
    ],
    [
      'an I/O priority',
      { linux: { ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 3 } } },
      /I\/O priority/,
    ],
    ['a scheduler', { linux: { scheduler: { policy: 'SCHED_BATCH' } } }, /scheduler/],
    ['network devices', { linux: { netDevices: { eth9: { name: 'eth9' } } } }, /network devices/],
    [
      'a memory policy',
      { linux: { memoryPolicy: { mode: 'MPOL_BIND', nodes: '0' } } },
      /memory policy/,
    ],
    ['RDT schemata', { linux: { rdt: { schemata: { value: ['L3:0=f'] } } } }, /RDT schemata/],
    [
      'a block I/O class',
      { linux: { resources: { blockioClass: { value: 'slow' } } } },
      /block I\/O class "slow"/,
    ],
    [
      'kernel memory',
      { linux: { resources: { memory: { kernel: { value: 1 } } } } },
      /kernel memory/,
    ],
    ['a relative mount', { mounts: [{ destination: 'x', source: '/etc' }] }, /mount at "x"/],
    ['a used cgroup', { linux: { cgroupsPath: used } }, /already/],
    ['an unknown namespace', { linux: { namespaces: [{ type: 'space' }] } }, /namespace "space"/],
  ])('%s', async (_what, adjustment, message) => {
    const { daemon, image } = suite;
    await adjust(adjustment);
    const failing = createContainer(daemon, pod, containerConfig(image));
    await expect(failing).rejects.toThrow(message);
    await expect(failing).rejects.toThrow(/NRI plugin "10-adjuster"|as observers of pods want/);
    expect((await daemon.runtime.listContainers()).containers).toEqual([]);
    expect(plugin.methods.filter((method) => !method.startsWith('Validate'))).toEqual([
      ...['CreateContainer', 'StopContainer', 'RemoveContainer'],
    ]);
    await expect(
      stat(join(daemon.paths.state, 'containers')).then(({ nlink }) => nlink),
    ).resolves.toBe(2);
  });
});
