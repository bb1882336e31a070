import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  ContainerState,
  ContainerStatus,
  type CreateContainerRequest,
  type ExecSyncRequest,
  type RunPodSandboxRequest,
} from '../../src/gen/runtime/v1/api.ts';
import { FakeCri, grpcError, keelson } from './fake-cri.ts';

let fake: FakeCri;
let sandbox: RunPodSandboxRequest;
let created: CreateContainerRequest;
let executed: ExecSyncRequest;
let log: string;

beforeAll(async () => {
  fake = await FakeCri.start({
    runPodSandbox: (request) => {
      sandbox = request;
      return { podSandboxId: 'pod-id' };
    },
    createContainer: (request) => {
      created = request;
      return { containerId: 'container-id' };
    },
    startContainer: ({ containerId }) => {
      if (containerId !== 'container-id') throw grpcError('NOT_FOUND', 'none');
      return {};
    },
    pullImage: () => ({ imageRef: 'x' }),
    execSync: (request) => {
      executed = request;
      if (request.cmd[0] === 'slow') throw grpcError('DEADLINE_EXCEEDED', 'too slow');
      return { stdout: Buffer.from([0xff, 10]), stderr: Buffer.from('err'), exitCode: 42 };
    },
    containerStatus: ({ containerId }) => ({
      status: ContainerStatus.fromPartial({
        id: containerId,
        state: ContainerState.CONTAINER_EXITED,
        logPath: containerId === 'silent' ? '' : log,
      }),
      info: {},
    }),
  });
  log = join(fake.directory, 'logs', '0.log');
});

afterAll(() => fake[Symbol.asyncDispose]());

function run(...args: string[]) {
  return keelson(['-r', fake.uri, ...args]);
}

describe('runp and create', () => {
  let pod: string;
  let container: string;

  beforeEach(async () => {
    pod = join(fake.directory, 'pod.json');
    container = join(fake.directory, 'container.yaml');
    await writeFile(pod, '{"metadata":{"name":"p","namespace":"n","uid":"u"}}');
    await writeFile(container, 'metadata: {name: c}\nimage: {image: busybox}\n');
  });

  it('sends the files', async () => {
    expect(await run('runp', '-r', 'runc', pod)).toMatchObject({ code: 0, stdout: 'pod-id\n' });
    expect(sandbox).toMatchObject({ runtimeHandler: 'runc', config: { metadata: { name: 'p' } } });
    expect((await run('create', 'pod-id', container, pod)).stdout).toBe('container-id\n');
    expect(created).toMatchObject({
      podSandboxId: 'pod-id',
      config: { image: { image: 'busybox' } },
      sandboxConfig: { metadata: { uid: 'u' } },
    });
    expect(fake.calls).not.toContain('pullImage');
    await run('create', '--with-pull', 'pod-id', container, pod);
    expect(fake.calls).toContain('pullImage');
  });

  it('refuses files that are wrong', async () => {
    await writeFile(pod, '{"metadata":{"name":"p","namespace":"n"},"hostnam":"x"}');
    const { code, stderr } = await run('runp', pod);
    expect(code).toBe(2);
    expect(stderr).toBe(`keelson: cannot use "${pod}": hostnam: there is no such field\n`);
  });
});

it('start starts each', async () => {
  const { code, stdout, stderr } = await run('start', 'container-id', 'other');
  expect(stdout).toBe('container-id\n');
  expect(stderr).toBe('keelson: cannot start container "other": none\n');
  expect(code).toBe(3);
});

describe('exec', () => {
  it('writes what the command wrote, and ends with its code', async () => {
    const { code, stderr } = await run('exec', '--sync', '--timeout', '3', 'c', 'ls', '-l');
    expect(code).toBe(42);
    expect(stderr).toBe('err');
    expect(executed).toEqual({ containerId: 'c', cmd: ['ls', '-l'], timeout: 3n });
    await run('exec', '-s', 'c', '--', 'ls', '--sync');
    expect(executed.cmd).toEqual(['ls', '--sync']);
  });

  it('ends with 125 when the command could not be run', async () => {
    expect((await run('exec', '--sync', 'c', 'slow')).code).toBe(125);
    expect((await run('exec', 'c')).code).toBe(125);
  });
});

describe('logs', () => {
  const entry = (second: number, text: string) => `2024-05-01T12:00:0${second}Z stdout F ${text}\n`;

  beforeEach(async () => {
    await mkdir(dirname(log), { recursive: true });
    await writeFile(log, entry(1, 'a') + entry(2, 'b') + entry(3, 'c'));
  });

  it.each([
    [[], 'a\nb\nc\n'],
    [['--tail', '1'], 'c\n'],
    [['--since', '2024-05-01T12:00:02Z'], 'b\nc\n'],
    [['--since', '1714564802'], 'b\nc\n'],
    [['--since', '5m'], ''],
    [['-f', '--tail', '2'], 'b\nc\n'],
    [['-t', '--tail', '1'], '2024-05-01T12:00:03Z c\n'],
  ])('%j shows %j', async (args, text) => {
    expect(await run('logs', ...args, 'x')).toEqual({ code: 0, stdout: text, stderr: '' });
  });

  it('tells when there is none', async () => {
    expect(await run('logs', 'silent')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('created without a log path'),
    });
    expect((await run('logs', '--since', 'yesterday', 'x')).code).toBe(2);
  });
});
