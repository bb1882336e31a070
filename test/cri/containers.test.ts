import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { ContainerState, Signal } from '../../src/gen/runtime/v1/api.ts';
import { busyboxImage } from '../fixtures/image.ts';
import {
  containerConfig,
  createContainer,
  logLines,
  type Pod,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { gvisorDiffers } from './gvisor-limits.ts';
import { codeOf, criSuite, ended, runToEnd, shell, statusOf } from './suite.ts';

const suite = criSuite();
const UNKNOWN_ID = randomBytes(32).toString('hex');
let pod: Pod;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
});

test('a container is created, runs, is stopped and removed', async () => {
  const { daemon, image } = suite;
  const before = BigInt(Date.now()) * 1_000_000n;
  const id = await createContainer(daemon, pod, containerConfig(image));
  expect(id).toMatch(/^[0-9a-f]{64}$/);
  const created = await statusOf(daemon, id);
  expect(created).toMatchObject({
    state: ContainerState.CONTAINER_CREATED,
    startedAt: 0n,
    finishedAt: 0n,
    exitCode: 0,
    reason: '',
  });
  expect(created.createdAt).toBeGreaterThanOrEqual(before);
  await daemon.runtime.startContainer({ containerId: id });
  const running = await statusOf(daemon, id);
  expect(running).toMatchObject({ state: ContainerState.CONTAINER_RUNNING, finishedAt: 0n });
  expect(running.startedAt).toBeGreaterThanOrEqual(running.createdAt);
  await daemon.runtime.stopContainer({ containerId: id });
  const exited = await statusOf(daemon, id);
  expect(exited).toMatchObject({
    state: ContainerState.CONTAINER_EXITED,
    createdAt: created.createdAt,
    startedAt: running.startedAt,
    exitCode: 137,
    reason: 'Error',
  });
  expect(exited.finishedAt).toBeGreaterThanOrEqual(running.startedAt);
  await daemon.runtime.removeContainer({ containerId: id });
  expect(await codeOf(statusOf(daemon, id))).toBe('NOT_FOUND');
});

test('a container starts once, and only after it was created', async () => {
  const { daemon, image } = suite;
  const id = await runContainer(daemon, pod, containerConfig(image));
  const start = () => codeOf(daemon.runtime.startContainer({ containerId: id }));
  expect(await start()).toBe('FAILED_PRECONDITION');
  await daemon.runtime.stopContainer({ containerId: id });
  expect(await start()).toBe('FAILED_PRECONDITION');
  expect(await codeOf(daemon.runtime.startContainer({ containerId: UNKNOWN_ID }))).toBe(
    'NOT_FOUND',
  );
});

test('the name of a container is taken until it is removed; another attempt is another name', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image);
  const request = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
  const { containerId } = await daemon.runtime.createContainer(request);
  expect(await codeOf(daemon.runtime.createContainer(request))).toBe('ALREADY_EXISTS');
  const second = containerConfig(image, { metadata: { ...config.metadata!, attempt: 1 } });
  const secondId = await createContainer(daemon, pod, second);
  expect((await statusOf(daemon, secondId)).metadata).toEqual(second.metadata);
  await daemon.runtime.removeContainer({ containerId });
  expect(await codeOf(daemon.runtime.createContainer(request))).toBe('OK');
});

test('the same name in another pod is no conflict', async () => {
  const { daemon, image } = suite;
  const other = await runPod(daemon);
  const config = containerConfig(image);
  await createContainer(daemon, pod, config);
  expect(await codeOf(createContainer(daemon, other, config))).toBe('OK');
});

test('two identical calls at the same time make one container', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image);
  const [first, second] = await Promise.all([
    createContainer(daemon, pod, config),
    createContainer(daemon, pod, config),
  ]);
  expect(second).toBe(first);
});

test('a container needs a ready sandbox, an image that is here and a name', async () => {
  const { daemon, image } = suite;
  const stopped = await runPod(daemon);
  await daemon.runtime.stopPodSandbox({ podSandboxId: stopped.id });
  const create = (id: string, config: object) =>
    codeOf(daemon.runtime.createContainer({ podSandboxId: id, config, sandboxConfig: {} }));
  const config = containerConfig(image);
  expect(await create(stopped.id, config)).toBe('FAILED_PRECONDITION');
  expect(await create(UNKNOWN_ID, config)).toBe('NOT_FOUND');
  expect(await create('', config)).toBe('INVALID_ARGUMENT');
  const absent = containerConfig(`${suite.registry.host}/absent:1`);
  expect(await create(pod.id, absent)).toBe('NOT_FOUND');
  expect(await create(pod.id, containerConfig(''))).toBe('INVALID_ARGUMENT');
  expect(await create(pod.id, { image: { image } })).toBe('INVALID_ARGUMENT');
  expect(await create(pod.id, { image: { image }, metadata: { name: '' } })).toBe(
    'INVALID_ARGUMENT',
  );
  expect(await codeOf(daemon.runtime.createContainer({ podSandboxId: pod.id }))).toBe(
    'INVALID_ARGUMENT',
  );
});

test('a container that was created does not start once its sandbox is stopped', async () => {
  const { daemon, image } = suite;
  const other = await runPod(daemon);
  const containerId = await createContainer(daemon, other, containerConfig(image));
  await daemon.runtime.stopPodSandbox({ podSandboxId: other.id });
  expect(await codeOf(daemon.runtime.startContainer({ containerId }))).toBe('FAILED_PRECONDITION');
});

test('exit codes: 0 is Completed, others are Error, signals count from 128', async () => {
  const { daemon, image } = suite;
  const run = async (script: string) => {
    const { status } = await runToEnd(daemon, pod, image, shell(script));
    return [status.exitCode, status.reason];
  };
  expect(await run('exit 0')).toEqual([0, 'Completed']);
  expect(await run('exit 7')).toEqual([7, 'Error']);
  const id = await runContainer(daemon, pod, containerConfig(image));
  const { info } = await daemon.runtime.containerStatus({ containerId: id, verbose: true });
  process.kill(JSON.parse(info['info']!).pid, 'SIGKILL');
  expect(await ended(daemon, id)).toMatchObject({ exitCode: 137, reason: 'Error' });
});

test(
  'number 1 is not ended by a signal of its own that it does not handle',
  gvisorDiffers,
  async () => {
    const script = 'ulimit -c 0; exec /bin/sh -c "kill -TERM \\$\\$; exit 3"';
    const { status } = await runToEnd(suite.daemon, pod, suite.image, shell(script));
    expect(status).toMatchObject({ exitCode: 3, reason: 'Error' });
  },
);

test('a command that is not there fails the start or the creation and is told by name', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image, { command: ['/no/such/command'] });
  const request = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
  const failure = daemon.runtime
    .createContainer(request)
    .then(({ containerId }) => daemon.runtime.startContainer({ containerId }));
  await expect(failure).rejects.toMatchObject({
    details: expect.stringContaining('/no/such/command'),
  });
});

const trapping = (signal: string) =>
  shell(`trap 'echo caught ${signal}; exit 5' ${signal}; echo ready; while :; do sleep 0.1; done`);

async function stopped(changes: object, reference = suite.image) {
  const { daemon } = suite;
  const config = containerConfig(reference, changes);
  const containerId = await runContainer(daemon, pod, config);
  await waitFor('the trap', async () => (await logLines(pod, config)).includes('ready'));
  await daemon.runtime.stopContainer({ containerId, timeout: 20n });
  const status = await statusOf(daemon, containerId);
  return { status, lines: await logLines(pod, config) };
}

test('a stop sends the signal that the container asks for, else SIGTERM', async () => {
  const asked = await stopped({ ...trapping('USR1'), stopSignal: Signal.SIGNAL_SIGUSR1 });
  expect(asked.status).toMatchObject({ exitCode: 5, stopSignal: Signal.SIGNAL_SIGUSR1 });
  expect(asked.lines).toEqual(['ready', 'caught USR1']);
  const usual = await stopped(trapping('TERM'));
  expect(usual.status).toMatchObject({ exitCode: 5, stopSignal: Signal.SIGNAL_SIGTERM });
});

test("a stop sends the image's signal, which the container's own overrides", async () => {
  const reference = await suite.add('stops', busyboxImage({ config: { StopSignal: 'SIGINT' } }));
  const own = await stopped(trapping('INT'), reference);
  expect(own.status).toMatchObject({ exitCode: 5, stopSignal: Signal.SIGNAL_SIGINT });
  const asked = await stopped(
    { ...trapping('TERM'), stopSignal: Signal.SIGNAL_SIGTERM },
    reference,
  );
  expect(asked.status.exitCode).toBe(5);
});

test('what ignores its signal is killed when the time is over; a second stop shortens it', async () => {
  const { daemon, image } = suite;
  const deaf = shell(`trap '' TERM; echo ready; while :; do sleep 0.1; done`);
  const config = containerConfig(image, deaf);
  const containerId = await runContainer(daemon, pod, config);
  await waitFor('the trap', async () => (await logLines(pod, config)).includes('ready'));
  const patient = daemon.runtime.stopContainer({ containerId, timeout: 600n });
  await daemon.runtime.stopContainer({ containerId, timeout: 1n });
  await patient;
  expect(await statusOf(daemon, containerId)).toMatchObject({ exitCode: 137, reason: 'Error' });
});

test('a stop of what does not run changes nothing', async () => {
  const { daemon, image } = suite;
  const stop = (containerId: string) => codeOf(daemon.runtime.stopContainer({ containerId }));
  const { status } = await runToEnd(daemon, pod, image, shell('exit 4'));
  expect(await stop(status.id)).toBe('OK');
  expect(await statusOf(daemon, status.id)).toEqual(status);
  const id = await createContainer(daemon, pod, containerConfig(image));
  const created = await statusOf(daemon, id);
  expect(await stop(id)).toBe('OK');
  expect(await statusOf(daemon, id)).toEqual(created);
  expect(await stop(UNKNOWN_ID)).toBe('OK');
  expect(await stop('')).toBe('INVALID_ARGUMENT');
});

test('removal kills what runs, keeps the log, and is fine with what is not there', async () => {
  const { daemon, image } = suite;
  const remove = (containerId: string) => codeOf(daemon.runtime.removeContainer({ containerId }));
  const config = containerConfig(image, shell('echo logged; sleep 1000000'));
  const id = await runContainer(daemon, pod, config);
  await waitFor('the line', async () => (await logLines(pod, config)).length === 1);
  expect(await remove(id)).toBe('OK');
  expect(await remove(id)).toBe('OK');
  expect(await remove(UNKNOWN_ID)).toBe('OK');
  expect(await remove('')).toBe('INVALID_ARGUMENT');
  const log = await readFile(join(pod.config.logDirectory, config.logPath), 'utf8');
  expect(log).toContain('logged');
  const created = await createContainer(daemon, pod, containerConfig(image));
  expect(await remove(created)).toBe('OK');
  expect(await codeOf(statusOf(daemon, created))).toBe('NOT_FOUND');
});

test('what a container wrote is gone with it', async () => {
  const { daemon, image } = suite;
  await runToEnd(daemon, pod, image, shell('echo mine > /etc/mine'));
  const { lines } = await runToEnd(
    daemon,
    pod,
    image,
    shell('ls /etc/mine 2>/dev/null || echo fresh'),
  );
  expect(lines.at(-1)).toBe('fresh');
});
