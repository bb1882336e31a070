import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import {
  Container,
  type ContainerFilter,
  ContainerState,
  Image,
  PodSandbox,
  PodSandboxState,
} from '../../src/gen/runtime/v1/api.ts';
import { FakeCri, keelson } from './fake-cri.ts';

const MINUTE = 60_000_000_000n;
const now = BigInt(Date.now()) * 1_000_000n;

const POD_LABELS = { 'io.kubernetes.pod.name': 'web', 'io.kubernetes.pod.namespace': 'default' };
const IMAGE_ID = `sha256:${'1'.repeat(64)}`;

const pods = [
  PodSandbox.fromPartial({
    id: 'a'.repeat(64),
    metadata: { name: 'web', namespace: 'default', uid: 'u', attempt: 0 },
    state: PodSandboxState.SANDBOX_READY,
    createdAt: now - 2n * MINUTE,
    labels: { app: 'web' },
  }),
  PodSandbox.fromPartial({
    id: 'b'.repeat(64),
    metadata: { name: 'bad\x1b[31mname', namespace: 'kube-system', uid: 'v', attempt: 3 },
    state: PodSandboxState.SANDBOX_NOTREADY,
    createdAt: now - 5n * MINUTE,
    runtimeHandler: 'runc',
  }),
];

const containers = [
  Container.fromPartial({
    id: 'c'.repeat(64),
    podSandboxId: 'a'.repeat(64),
    metadata: { name: 'main', attempt: 1 },
    image: { image: IMAGE_ID },
    state: ContainerState.CONTAINER_CREATED,
    createdAt: now - 90n * MINUTE,
    labels: POD_LABELS,
  }),
  Container.fromPartial({
    id: 'd'.repeat(64),
    podSandboxId: 'a'.repeat(64),
    metadata: { name: 'side' },
    image: { image: 'other' },
    imageId: 'sha256:other',
    state: ContainerState.CONTAINER_RUNNING,
    createdAt: now,
  }),
];

const images = [
  Image.fromPartial({
    id: IMAGE_ID,
    repoTags: ['localhost:5000/team/web:1', 'localhost:5000/team/web:latest'],
    repoDigests: [`localhost:5000/team/web@sha256:${'2'.repeat(64)}`],
    size: 4_261_574n,
    pinned: true,
  }),
  Image.fromPartial({
    id: `sha256:${'3'.repeat(64)}`,
    repoDigests: [`a.example/untagged@sha256:${'4'.repeat(64)}`],
    size: 512n,
  }),
];

let fake: FakeCri;
let filter: ContainerFilter | undefined;

beforeAll(async () => {
  fake = await FakeCri.start({
    listPodSandbox: () => ({ items: pods }),
    listContainers: (request) => {
      filter = request.filter;
      return { containers };
    },
    listImages: () => ({ images }),
    imageStatus: ({ image }) => ({
      image: images.find(({ id, repoTags }) => [id, ...repoTags].includes(image?.image ?? '')),
      info: {},
    }),
  });
});

afterAll(() => fake[Symbol.asyncDispose]());

function run(...args: string[]) {
  return keelson(['-r', fake.uri, ...args]);
}

describe('pods', () => {
  it('shows a table, newest first, without control characters', async () => {
    const { code, stdout } = await run('pods');
    expect(code).toBe(0);
    const lines = stdout.split('\n').map((line) => line.split(/ {3,}/));
    expect(lines[0]).toEqual([
      'POD ID',
      'CREATED',
      'STATE',
      'NAME',
      'NAMESPACE',
      'ATTEMPT',
      'RUNTIME',
    ]);
    expect(lines[1]).toEqual([
      'aaaaaaaaaaaaa',
      '2 minutes ago',
      'Ready',
      'web',
      'default',
      '0',
      '(default)',
    ]);
    expect(lines[2]).toEqual([
      'bbbbbbbbbbbbb',
      '5 minutes ago',
      'NotReady',
      'bad?[31mname',
      'kube-system',
      '3',
      'runc',
    ]);
  });

  it('prints the message as protobuf has it', async () => {
    const { items } = JSON.parse((await run('pods', '-o', 'json')).stdout);
    expect(items[0]).toEqual({
      id: 'a'.repeat(64),
      metadata: { name: 'web', uid: 'u', namespace: 'default', attempt: 0 },
      state: 'SANDBOX_READY',
      createdAt: String(now - 2n * MINUTE),
      labels: { app: 'web' },
      annotations: {},
      runtimeHandler: '',
    });
    expect(parse((await run('pods', '-o', 'yaml')).stdout).items).toEqual(items);
  });

  it.each([
    [['--name', '^w'], 'a'],
    [['--namespace', 'system'], 'b'],
    [['--latest'], 'a'],
    [['--last', '1'], 'a'],
  ])('filters by %j', async (args, id) => {
    expect((await run('pods', '-q', ...args)).stdout).toBe(`${id.repeat(64)}\n`);
  });
});

describe('ps', () => {
  it('shows a table', async () => {
    const { stdout } = await run('ps', '-a');
    const lines = stdout.split('\n').map((line) => line.split(/ {3,}/));
    expect(lines[0]?.join()).toBe(
      'CONTAINER,IMAGE,CREATED,STATE,NAME,ATTEMPT,POD ID,POD,NAMESPACE',
    );
    expect(lines[1]?.slice(2, 5)).toEqual(['Less than a second ago', 'Running', 'side']);
    expect(lines[2]).toEqual([
      ...['ccccccccccccc', '1111111111111', '2 hours ago', 'Created', 'main', '1'],
      ...['aaaaaaaaaaaaa', 'web', 'default'],
    ]);
  });

  it('asks for running containers, for all, or for a state', async () => {
    await run('ps');
    expect(filter?.state).toEqual({ state: ContainerState.CONTAINER_RUNNING });
    await run('ps', '-a', '--label', 'a=b=c', '--label', 'd=', '--id', 'c', '--pod', 'a');
    expect(filter).toEqual({
      id: 'c',
      podSandboxId: 'a',
      state: undefined,
      labelSelector: { a: 'b=c', d: '' },
    });
    await run('ps', '--state', 'Exited');
    expect(filter?.state).toEqual({ state: ContainerState.CONTAINER_EXITED });
    await run('ps', '--latest');
    expect(filter?.state).toBeUndefined();
  });

  it('names images by their tag when asked, and filters by image', async () => {
    expect((await run('ps', '-a', '-r')).stdout).toContain('localhost:5000/team/web:1');
    const ofImage = await run('ps', '-aq', '--image', 'localhost:5000/team/web:latest');
    expect(ofImage.stdout).toBe(`${'c'.repeat(64)}\n`);
    expect((await run('ps', '-aq', '--image', 'absent')).stdout).toBe('');
  });

  it('refuses a state, a label and an expression that are none', async () => {
    for (const args of [
      ['--state', 'odd'],
      ['--label', 'x'],
      ['--name', '('],
    ]) {
      expect(await run('ps', ...args)).toMatchObject({ code: 2, stdout: '' });
    }
  });
});

describe('images', () => {
  it('shows a line for each tag', async () => {
    const { stdout } = await run('images', '--digests', '--pinned');
    expect(stdout.split('\n').map((line) => line.split(/ {3,}/))).toEqual([
      ['IMAGE', 'TAG', 'DIGEST', 'IMAGE ID', 'SIZE', 'PINNED'],
      ['a.example/untagged', '<none>', '4444444444444', '3333333333333', '512B', 'false'],
      ['localhost:5000/team/web', '1', '2222222222222', '1111111111111', '4.26MB', 'true'],
      ['localhost:5000/team/web', 'latest', '2222222222222', '1111111111111', '4.26MB', 'true'],
      [''],
    ]);
  });

  it('prints whole ids', async () => {
    expect((await run('images', '-q')).stdout).toBe(`sha256:${'3'.repeat(64)}\n${IMAGE_ID}\n`);
  });
});
