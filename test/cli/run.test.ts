import { appendFile, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ContainerConfig,
  ContainerState,
  ContainerStatus,
  Image,
  type PodSandboxConfig,
  PodSandboxState,
  PodSandboxStatus,
} from '../../src/gen/runtime/v1/api.ts';
import { type Answers, FakeCri, grpcError, keelson } from './fake-cri.ts';

/** What the pretended container has done. */
interface World {
  pod: PodSandboxConfig | undefined;
  container: ContainerConfig | undefined;
  state: ContainerState;
  exitCode: number;
  images: string[];
}

let world: World;
let fake: FakeCri;

beforeEach(async () => {
  world = {
    ...{ pod: undefined, container: undefined, exitCode: 0, images: ['busybox'] },
    state: ContainerState.CONTAINER_CREATED,
  };
  fake = await FakeCri.start(answers());
});

afterEach(() => fake[Symbol.asyncDispose]());

function logPath(): string {
  return join(fake.directory, 'logs', '0.log');
}

/** The container writes a line to each stream and ends with 7. */
async function runToEnd(): Promise<void> {
  await mkdir(dirname(logPath()), { recursive: true });
  await appendFile(
    logPath(),
    '2024-05-01T12:00:00Z stdout F out\n2024-05-01T12:00:00Z stderr F err\n',
  );
  world.exitCode = 7;
  world.state = ContainerState.CONTAINER_EXITED;
}

function answers(): Answers {
  return {
    imageStatus: ({ image }) => ({
      image: world.images.includes(image?.image ?? '')
        ? Image.fromPartial({ id: image?.image ?? '' })
        : undefined,
      info: {},
    }),
    pullImage: ({ image }) => ({ imageRef: image?.image ?? '' }),
    runPodSandbox: ({ config }) => {
      world.pod = config;
      return { podSandboxId: 'pod' };
    },
    createContainer: ({ config }) => {
      world.container = config;
      if (config?.args[0] === 'refused') throw grpcError('INVALID_ARGUMENT', 'no');
      return { containerId: 'container' };
    },
    startContainer: async () => {
      world.state = ContainerState.CONTAINER_RUNNING;
      if (world.container?.args[0] === 'end') await runToEnd();
      return {};
    },
    containerStatus: () => {
      const { state, exitCode } = world;
      const changes = { id: 'container', state, exitCode, logPath: logPath() };
      return { status: ContainerStatus.fromPartial(changes), info: {} };
    },
    stopContainer: async () => {
      await runToEnd();
      return {};
    },
    podSandboxStatus: () => ({
      status: PodSandboxStatus.fromPartial({ id: 'pod', state: PodSandboxState.SANDBOX_READY }),
      info: {},
      containersStatuses: [],
      timestamp: 0n,
    }),
    stopPodSandbox: () => ({}),
    removePodSandbox: () => ({}),
  };
}

function run(args: string[], options: Parameters<typeof keelson>[1] = {}) {
  return keelson(['-r', fake.uri, 'run', ...args], options);
}

describe('in the foreground', () => {
  it("shows both streams, ends with the container's code and stops the pod", async () => {
    const { code, stdout, stderr } = await run(['busybox', 'end', '--now']);
    expect({ code, stdout, stderr }).toEqual({ code: 7, stdout: 'out\n', stderr: 'err\n' });
    expect(world.container?.args).toEqual(['end', '--now']);
    expect(fake.calls).toContain('stopPodSandbox');
    expect(fake.calls).not.toContain('removePodSandbox');
    expect(fake.calls).not.toContain('pullImage');
  });

  it('removes the pod when asked', async () => {
    expect((await run(['--rm', 'busybox', '--', 'end'])).code).toBe(7);
    expect(world.container?.args).toEqual(['end']);
    expect(fake.calls.slice(-2)).toEqual(['stopPodSandbox', 'removePodSandbox']);
  });

  it('stops the container when interrupted, and still shows what it writes', async () => {
    const interrupt = new AbortController();
    const running = run(['busybox', 'sleep'], { signal: interrupt.signal });
    while (world.state !== ContainerState.CONTAINER_RUNNING) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    interrupt.abort();
    expect(await running).toMatchObject({ code: 7, stdout: 'out\n' });
    expect(fake.calls).toContain('stopContainer');
  });
});

it('prints the id and leaves the container running when detached', async () => {
  expect(await run(['-d', 'busybox'])).toMatchObject({ code: 0, stdout: 'container\n' });
  expect(fake.calls).not.toContain('stopPodSandbox');
  expect((await run(['-d', '--rm', 'busybox'])).code).toBe(125);
});

it('pulls what is missing, always, or never', async () => {
  world.images = [];
  await run(['-d', 'busybox']);
  expect(fake.calls.filter((call) => call === 'pullImage')).toHaveLength(1);
  await run(['-d', '--pull', 'never', 'busybox']);
  expect(fake.calls.filter((call) => call === 'pullImage')).toHaveLength(1);
  world.images = ['busybox'];
  await run(['-d', '--pull', 'always', 'busybox']);
  expect(fake.calls.filter((call) => call === 'pullImage')).toHaveLength(2);
});

it('hands its options on', async () => {
  await run(
    [
      ...['-d', '--name', 'web', '--namespace', 'test', '-p', '8080:80', '-m', '/a:/b:ro'],
      ...['-e', 'A=1', '-e', 'HOME', '--label', 'x=y', '-w', '/w', '--read-only', '--host-network'],
      'busybox',
    ],
    { env: { HOME: '/root' } },
  );
  expect(world.pod).toMatchObject({
    metadata: { name: 'web', namespace: 'test' },
    portMappings: [{ hostPort: 8080, containerPort: 80 }],
    labels: { x: 'y' },
  });
  expect(world.container).toMatchObject({
    envs: [{ key: 'A' }, { key: 'HOME' }],
    mounts: [{ hostPath: '/a', containerPath: '/b', readonly: true }],
    workingDir: '/w',
    linux: { securityContext: { readonlyRootfs: true } },
  });
});

describe('failures', () => {
  it('leave no pod, and end with 125', async () => {
    const { code, stderr } = await run(['busybox', 'refused']);
    expect(code).toBe(125);
    expect(stderr).toBe('keelson: cannot create container of image "busybox": no\n');
    expect(fake.calls.slice(-2)).toEqual(['stopPodSandbox', 'removePodSandbox']);
  });

  it('of the command line come before anything is done', async () => {
    for (const args of [
      ['-p', 'x'],
      ['-m', 'x'],
      ['-e', 'ABSENT'],
      ['--name', '/'],
    ]) {
      expect((await run([...args, 'busybox'])).code).toBe(125);
    }
    expect(fake.calls).toEqual([]);
  });
});
