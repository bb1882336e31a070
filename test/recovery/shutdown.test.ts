import { afterAll, expect, test } from 'vitest';
import { ContainerState } from '../../src/gen/runtime/v1/api.ts';
import { codeOf, criSuite, execIn, statusOf } from '../cri/suite.ts';
import { ScriptedRuntime } from '../faults/scripted-runtime.ts';
import {
  containerConfig,
  createContainer,
  type Daemon,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { recordedIds, tracesOf } from './traces.ts';

const runtime = await ScriptedRuntime.create();
// Hooks run last first: the daemon still needs it.
afterAll(() => runtime[Symbol.asyncDispose]());
const suite = criSuite({ config: `drain_timeout = "3s"\n${runtime.config}` });

/** Sends SIGTERM and waits until no new calls are taken. Answers how it will have ended. */
async function terminate(daemon: Daemon): Promise<Promise<number | NodeJS.Signals>> {
  process.kill(daemon.pid, 'SIGTERM');
  await waitFor('the daemon to say that it ends', () => daemon.log.includes('shutting down'));
  return daemon.exited(30_000);
}

test('a call in flight is finished, a new one refused, and containers go on', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon, {}, 'scripted');
  const running = await runContainer(daemon, pod, containerConfig(image));
  await runtime.hang('create');
  const calls = await runtime.calls('create');
  const call = createContainer(daemon, pod, containerConfig(image));
  await runtime.called('create', calls + 1);
  const client = daemon.client;
  process.kill(daemon.pid, 'SIGTERM');
  await waitFor('the daemon to say that it ends', () => daemon.log.includes('shutting down'));
  expect(await codeOf(client.runtime.version({}, { timeout: 3000 }))).toBe('UNAVAILABLE');
  await runtime.mend('create');
  const created = await call;
  expect(await daemon.exited(30_000)).toBe(0);
  await daemon.start();
  expect((await statusOf(daemon, created)).state).toBe(ContainerState.CONTAINER_CREATED);
  expect(await execIn(daemon, running, 'echo lives')).toBe('lives');
});

test('a call that does not end in time is undone', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon, {}, 'scripted');
  const config = containerConfig(image);
  await runtime.hang('create');
  const calls = await runtime.calls('create');
  const call = codeOf(createContainer(daemon, pod, config));
  await runtime.called('create', calls + 1);
  const undone = (await recordedIds(daemon)).filter((id) => id !== pod.id);
  const end = await terminate(daemon);
  expect(await call).toBe('UNAVAILABLE');
  expect(end).toBe(0);
  await runtime.mend('create');
  const others = new Set(await recordedIds(daemon));
  expect(
    await tracesOf(
      daemon,
      undone.filter((id) => !others.has(id)),
    ),
  ).toEqual([]);
  expect(undone.filter((id) => !others.has(id)).length).toBe(1);
  await daemon.start();
  await createContainer(daemon, pod, config);
});

test('a stream does not hold the end up', async () => {
  const { daemon } = suite;
  const events = daemon.runtime.getContainerEvents();
  const ended = new Promise((resolve) => events.once('error', resolve).once('end', resolve));
  events.resume();
  await runPod(daemon);
  expect(await daemon.stop()).toBe(0);
  await ended;
  await daemon.start();
});
