import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import {
  Container,
  ContainerState,
  type ContainerStats,
  ContainerStatus,
  FilesystemUsage,
  Image,
  PodSandboxState,
  PodSandboxStatus,
  RuntimeFeatures,
  RuntimeHandler,
  ContainerStats as Stats,
} from '../../src/gen/runtime/v1/api.ts';
import { FakeCri, grpcError, keelson } from './fake-cri.ts';

const TIME = 1_714_564_800_123_456_789n;

const status = ContainerStatus.fromPartial({
  id: 'c1',
  metadata: { name: 'main', attempt: 1 },
  state: ContainerState.CONTAINER_EXITED,
  createdAt: TIME,
  startedAt: TIME,
  finishedAt: TIME + 1n,
  exitCode: 137,
  reason: 'OOMKilled',
  labels: { b: '2', a: '1' },
});

let fake: FakeCri;
let samples = 0n;

beforeAll(async () => {
  fake = await FakeCri.start({
    containerStatus: ({ containerId, verbose }) => {
      if (containerId !== 'c1') throw grpcError('NOT_FOUND', 'no such container');
      return { status, info: verbose ? { info: '{"pid":7}', note: '"plain"' } : {} };
    },
    listContainers: () => ({ containers: [Container.fromPartial({ id: 'c1' })] }),
    podSandboxStatus: () => ({
      status: PodSandboxStatus.fromPartial({
        id: 'p1',
        metadata: { name: 'web', namespace: 'default', uid: 'u' },
        state: PodSandboxState.SANDBOX_READY,
        createdAt: TIME,
        network: { ip: '10.85.0.2', additionalIps: [{ ip: 'fd00::2' }] },
      }),
      info: {},
      containersStatuses: [],
      timestamp: 0n,
    }),
    imageStatus: ({ image }) => ({
      image:
        image?.image === 'web'
          ? Image.fromPartial({ id: 'sha256:1', repoTags: ['web:1'], size: 5_000_000n })
          : undefined,
      info: {},
    }),
    status: () => ({
      status: { conditions: [{ type: 'RuntimeReady', status: true, reason: '', message: '' }] },
      info: { config: '{"root":"/x"}' },
      runtimeHandlers: [
        RuntimeHandler.fromPartial({ features: { recursiveReadOnlyMounts: true } }),
      ],
      features: RuntimeFeatures.fromPartial({ supplementalGroupsPolicy: true }),
    }),
    version: () => ({
      version: '0.1.0',
      runtimeName: 'keelson',
      runtimeVersion: '1.2.3',
      runtimeApiVersion: 'v1',
    }),
    imageFsInfo: () => ({
      imageFilesystems: [
        FilesystemUsage.fromPartial({
          timestamp: TIME,
          fsId: { mountpoint: '/var/lib/keelson' },
          usedBytes: { value: 12_345_678n },
          inodesUsed: { value: 9n },
        }),
      ],
      containerFilesystems: [],
    }),
    listContainerStats: () => ({ stats: [stats(samples++), idle()] }),
  });
});

afterAll(() => fake[Symbol.asyncDispose]());

/** Half a CPU in use: each sample is a second and half a second of CPU time later. */
function stats(sample: bigint): ContainerStats {
  return Stats.fromPartial({
    attributes: { id: 'c1', metadata: { name: 'main' } },
    cpu: {
      timestamp: sample * 1_000_000_000n,
      usageCoreNanoSeconds: { value: 7n + sample * 500_000_000n },
    },
    memory: { workingSetBytes: { value: 2_500_000n } },
    writableLayer: { usedBytes: { value: 4096n }, inodesUsed: { value: 3n } },
  });
}

function idle(): ContainerStats {
  return Stats.fromPartial({ attributes: { id: 'c0', metadata: { name: 'done' } } });
}

function run(...args: string[]) {
  return keelson(['-r', fake.uri, ...args]);
}

describe('inspect', () => {
  it('shows status and information as JSON, with readable times', async () => {
    const { stdout } = await run('inspect', 'c1');
    expect(JSON.parse(stdout)).toMatchObject({
      status: {
        id: 'c1',
        state: 'CONTAINER_EXITED',
        exitCode: 137,
        createdAt: '2024-05-01T12:00:00.123456789Z',
        finishedAt: '2024-05-01T12:00:00.123456790Z',
        annotations: {},
      },
      info: { pid: 7 },
      note: 'plain',
    });
  });

  it('shows several as a list, and those that are there though others are not', async () => {
    const { code, stdout, stderr } = await run('inspect', 'c1', 'absent', '-q');
    expect(JSON.parse(stdout)).toEqual({ status: expect.objectContaining({ id: 'c1' }) });
    expect(stderr).toBe('keelson: cannot inspect container "absent": no such container\n');
    expect(code).toBe(3);
    expect(JSON.parse((await run('inspect', 'c1', 'c1', '-q')).stdout)).toHaveLength(2);
  });

  it('lets filters choose', async () => {
    expect(JSON.parse((await run('inspect', '-a')).stdout).status.id).toBe('c1');
    expect((await run('inspect', '--name', 'none')).code).toBe(2);
  });

  it('shows lines for people', async () => {
    const { stdout } = await run('inspect', '-o', 'table', '-q', 'c1');
    expect(stdout.split('\n')).toEqual(
      expect.arrayContaining([
        'ID: c1',
        'State: CONTAINER_EXITED',
        'Exit Code: 137',
        'Reason: OOMKilled',
        'Labels:',
        '\ta -> 1',
      ]),
    );
  });

  it('shows pods', async () => {
    expect(parse((await run('inspectp', '-o', 'yaml', 'p1')).stdout).status.network).toEqual({
      ip: '10.85.0.2',
      additionalIps: [{ ip: 'fd00::2' }],
    });
    expect((await run('inspectp', '-o', 'table', 'p1')).stdout).toContain('Additional IP: fd00::2');
  });

  it('shows images, and fails for one that is not there', async () => {
    expect(JSON.parse((await run('inspecti', 'web')).stdout).status.size).toBe('5000000');
    expect((await run('inspecti', '-o', 'table', 'web')).stdout).toContain('Size: 5MB\n');
    expect(await run('inspecti', 'absent')).toMatchObject({ code: 3, stdout: '' });
  });
});

it('info shows the status, features by their protocol names, and the configuration', async () => {
  expect(JSON.parse((await run('info')).stdout)).toEqual({
    status: { conditions: [{ type: 'RuntimeReady', status: true, reason: '', message: '' }] },
    runtimeHandlers: [{ features: { recursive_read_only_mounts: true } }],
    features: { supplemental_groups_policy: true },
    config: { root: '/x' },
  });
});

it('version shows what the daemon is', async () => {
  expect((await run('version')).stdout).toBe(
    'Version:  0.1.0\nRuntimeName:  keelson\nRuntimeVersion:  1.2.3\nRuntimeApiVersion:  v1\n',
  );
  expect(JSON.parse((await run('version', '-o', 'json')).stdout).runtimeName).toBe('keelson');
});

it('imagefsinfo shows the store', async () => {
  const { status: data } = JSON.parse((await run('imagefsinfo')).stdout);
  expect(data.imageFilesystems[0].usedBytes).toEqual({ value: '12345678' });
  const lines = (await run('imagefsinfo', '-o', 'table')).stdout.split('\n');
  expect(lines[1]?.split(/ {3,}/)).toEqual([
    'image',
    '/var/lib/keelson',
    '12.35MB',
    '9',
    '2024-05-01T12:00:00.123456789Z',
  ]);
});

describe('stats', () => {
  it('measures CPU between two samples and leaves out what does not run', async () => {
    const lines = (await run('stats', '-s', '0')).stdout.split('\n');
    expect(lines.map((line) => line.split(/ {3,}/))).toEqual([
      ['CONTAINER', 'NAME', 'CPU %', 'MEM', 'DISK', 'INODES'],
      ['c1', 'main', '50.00', '2.5MB', '4.096kB', '3'],
      [''],
    ]);
    expect((await run('stats', '-a', '-s', '0')).stdout).toContain('done');
  });

  it('prints the messages', async () => {
    const { stats } = JSON.parse((await run('stats', '-o', 'json')).stdout);
    expect(stats.map((each: { attributes: { id: string } }) => each.attributes.id)).toEqual([
      'c0',
      'c1',
    ]);
  });
});
