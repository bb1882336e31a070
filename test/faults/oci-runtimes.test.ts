import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { ContainerState } from '../../src/gen/runtime/v1/api.ts';
import { criSuite, execIn, statusOf } from '../cri/suite.ts';
import {
  containerConfig,
  createContainer,
  type Pod,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { recordedIds, tracesOf } from '../recovery/traces.ts';
import { failureOf } from './failure.ts';
import { ScriptedRuntime } from './scripted-runtime.ts';

const runtime = await ScriptedRuntime.create();
// Hooks run last first: the daemon still needs it.
afterAll(() => runtime[Symbol.asyncDispose]());
const suite = criSuite({ config: runtime.config });

let pod: Pod;
let config: ReturnType<typeof containerConfig>;
beforeAll(async () => {
  pod = await runPod(suite.daemon, {}, 'scripted');
});
beforeEach(() => {
  config = containerConfig(suite.image);
});

/** Nothing is left of a container that could not be created, and its name is free. */
async function expectUndone(): Promise<void> {
  const { daemon } = suite;
  const known = new Set((await daemon.runtime.listContainers()).containers.map(({ id }) => id));
  await waitFor('the undoing', async () =>
    (await recordedIds(daemon)).every((id) => id === pod.id || known.has(id)),
  );
  expect(await monitors()).toBe(known.size);
  const id = await runContainer(daemon, pod, config);
  expect(await execIn(daemon, id, 'echo lives')).toBe('lives');
  await daemon.runtime.removeContainer({ containerId: id });
  expect(await tracesOf(daemon, [id])).toEqual([]);
}

const monitors = async () => {
  const all = await tracesOf(suite.daemon, ['--bundle']);
  return all.filter((line) => /^process \d+: \S*conmon /.test(line)).length;
};

test('a runtime that fails to create says why', async () => {
  await runtime.fail('create', 'level=error msg="no such luck"');
  const failure = await failureOf(createContainer(suite.daemon, pod, config));
  await runtime.mend('create');
  expect(failure).toMatch(/^UNKNOWN: Cannot create container "container-.*no such luck/);
  await expectUndone();
});

test('a runtime that is gone since the daemon started', async () => {
  await runtime.uninstall();
  const failure = await failureOf(createContainer(suite.daemon, pod, config));
  await runtime.install();
  expect(failure).toMatch(/^[A-Z_]+: Cannot create container "container-/);
  expect(failure).toContain(runtime.path);
  await expectUndone();
});

test('a runtime that hangs while it creates is ended with the deadline of the call', async () => {
  const { daemon } = suite;
  const other = await runContainer(daemon, pod, containerConfig(suite.image));
  await runtime.hang('create');
  const calls = await runtime.calls('create');
  const call = failureOf(
    daemon.runtime.createContainer(
      { podSandboxId: pod.id, config, sandboxConfig: pod.config },
      { timeout: 1500 },
    ),
  );
  await runtime.called('create', calls + 1);
  // Nobody else waits for it.
  expect(await execIn(daemon, other, 'echo lives')).toBe('lives');
  expect(await call).toMatch(/^DEADLINE_EXCEEDED/);
  await daemon.runtime.removeContainer({ containerId: other });
  await waitFor('the end of the monitor', async () => (await monitors()) === 0);
  await runtime.mend('create');
  await expectUndone();
});

test('a container whose process cannot be started has ended with the reason', async () => {
  const { daemon } = suite;
  const containerId = await createContainer(daemon, pod, config);
  await runtime.fail('start', 'no power');
  const failure = await failureOf(daemon.runtime.startContainer({ containerId }));
  await runtime.mend('start');
  expect(failure).toMatch(/^UNKNOWN: .*no power$/);
  expect(await statusOf(daemon, containerId)).toMatchObject({
    state: ContainerState.CONTAINER_EXITED,
    exitCode: 128,
    reason: 'StartError',
    startedAt: 0n,
  });
  expect((await statusOf(daemon, containerId)).message).toContain('no power');
  await daemon.runtime.removeContainer({ containerId });
  expect(await tracesOf(daemon, [containerId])).toEqual([]);
  await expectUndone();
});

test('a start that hangs concerns nobody but its container, and is finished without its client', async () => {
  const { daemon, image } = suite;
  const containerId = await createContainer(daemon, pod, config);
  await runtime.hang('start');
  const calls = await runtime.calls('start');
  const start = failureOf(daemon.runtime.startContainer({ containerId }, { timeout: 500 }));
  await runtime.called('start', calls + 1);
  expect(await start).toMatch(/^DEADLINE_EXCEEDED/);
  const other = await createContainer(daemon, pod, containerConfig(image));
  expect((await statusOf(daemon, other)).state).toBe(ContainerState.CONTAINER_CREATED);
  await daemon.runtime.removeContainer({ containerId: other });
  expect((await statusOf(daemon, containerId)).state).toBe(ContainerState.CONTAINER_CREATED);
  await runtime.mend('start');
  await waitFor(
    'the start',
    async () => (await statusOf(daemon, containerId)).state === ContainerState.CONTAINER_RUNNING,
  );
  await daemon.runtime.removeContainer({ containerId });
});

test('a container that is stopped while its start hangs does not run afterwards', async () => {
  const { daemon } = suite;
  const containerId = await createContainer(daemon, pod, config);
  await runtime.hang('start');
  const calls = await runtime.calls('start');
  const start = failureOf(daemon.runtime.startContainer({ containerId }));
  await runtime.called('start', calls + 1);
  const stop = daemon.runtime.stopContainer({ containerId, timeout: 0n });
  // It must not answer as long as the process may still begin to run.
  expect(await Promise.race([stop, sleep(300, 'waits')])).toBe('waits');
  await runtime.mend('start');
  await Promise.all([start, stop]);
  const { state, exitCode } = await statusOf(daemon, containerId);
  expect({ state, exitCode }).toEqual({ state: ContainerState.CONTAINER_EXITED, exitCode: 137 });
  await daemon.runtime.removeContainer({ containerId });
});

test.each(['fails', 'hangs'] as const)(
  'a runtime that %s to delete leaves the container to the next call',
  async (way) => {
    const { daemon, image } = suite;
    const containerId = await runContainer(daemon, pod, config);
    const other = await runContainer(daemon, pod, containerConfig(image));
    if (way === 'fails') await runtime.fail('delete', 'it sticks');
    else await runtime.hang('delete');
    const failure = await failureOf(
      daemon.runtime.removeContainer({ containerId }, { timeout: 2000 }),
    );
    const reason = way === 'fails' ? /^UNKNOWN: Cannot delete .*it sticks$/ : /^DEADLINE_EXCEEDED/;
    expect(failure).toMatch(reason);
    expect(await execIn(daemon, other, 'echo lives')).toBe('lives');
    expect((await statusOf(daemon, containerId)).state).toBe(ContainerState.CONTAINER_EXITED);
    await runtime.mend('delete');
    await daemon.runtime.removeContainer({ containerId });
    expect(await tracesOf(daemon, [containerId])).toEqual([]);
    await daemon.runtime.removeContainer({ containerId: other });
  },
);

test('a handler that is not configured any more does not keep its pods for ever', async () => {
  const { daemon } = suite;
  const id = await runContainer(daemon, pod, config);
  await daemon.kill9();
  await runtime.uninstall();
  await daemon.start();
  expect(
    await failureOf(
      daemon.runtime.runPodSandbox({ config: pod.config, runtimeHandler: 'scripted' }),
    ),
  ).toMatch(/^INVALID_ARGUMENT: .*There is no runtime handler "scripted"/);
  await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  expect(await tracesOf(daemon, [pod.id, id])).toEqual([]);
  await runtime.install();
});
