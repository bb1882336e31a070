import { expect, test } from 'vitest';
import {
  type ContainerEventResponse,
  ContainerEventType,
  NamespaceMode,
} from '../../src/gen/runtime/v1/api.ts';
import {
  containerConfig,
  createContainer,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { criSuite } from './suite.ts';

const suite = criSuite();

const NAMES = new Map<number, string>(
  Object.entries(ContainerEventType).map(([name, value]) => [value, name.split('_')[1] ?? '']),
);

function subscribe(): { events: ContainerEventResponse[]; cancel(): void } {
  const stream = suite.daemon.runtime.getContainerEvents();
  const events: ContainerEventResponse[] = [];
  stream.on('data', (event: ContainerEventResponse) => events.push(event));
  stream.on('error', () => {});
  return { events, cancel: () => stream.cancel() };
}

function story(events: readonly ContainerEventResponse[], names: ReadonlyMap<string, string>) {
  return events
    .filter(({ containerId }) => names.has(containerId))
    .map((event) => `${names.get(event.containerId)} ${NAMES.get(event.containerEventType)}`);
}

test('each subscriber hears each change once and in order, with the pod as it was right after', async () => {
  const subscribers = [subscribe(), subscribe()];
  const pod = await runPod(suite.daemon);
  const config = containerConfig(suite.image, { command: ['sh', '-c', 'exit 3'] });
  const containerId = await runContainer(suite.daemon, pod, config);
  await waitFor('the exit', async () => {
    const { status } = await suite.daemon.runtime.containerStatus({ containerId });
    return status?.finishedAt !== 0n;
  });
  await suite.daemon.runtime.removeContainer({ containerId });
  await suite.daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  await suite.daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  const names = new Map([
    [pod.id, 'pod'],
    [containerId, 'container'],
  ]);
  for (const { events, cancel } of subscribers) {
    await waitFor('the last event', async () => story(events, names).at(-1) === 'pod DELETED');
    cancel();
    expect(story(events, names)).toEqual([
      'pod CREATED',
      'pod STARTED',
      'container CREATED',
      'container STARTED',
      'container STOPPED',
      'container DELETED',
      'pod STOPPED',
      'pod DELETED',
    ]);
    const stopped = events.find(
      (event) => event.containerId === containerId && event.containerEventType === 2,
    );
    expect(stopped?.podSandboxStatus?.id).toBe(pod.id);
    expect(stopped?.containersStatuses).toMatchObject([{ id: containerId, exitCode: 3 }]);
  }
});

test('the status of a pod has what an event of it would have', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const { events, cancel } = subscribe();
  const containerId = await runContainer(daemon, pod, containerConfig(image));
  await runContainer(daemon, await runPod(daemon), containerConfig(image));
  const started = ({ containerId: id, containerEventType }: ContainerEventResponse) =>
    id === containerId && containerEventType === 1;
  await waitFor('the event', async () => events.some(started));
  cancel();
  const event = events.find(started)!;
  const answer = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
  expect(answer.containersStatuses).toEqual(event.containersStatuses);
  expect(answer.containersStatuses.map(({ id }) => id)).toEqual([containerId]);
  expect(answer.status).toEqual(event.podSandboxStatus);
  expect(answer.timestamp).toBeGreaterThan(event.createdAt);
});

test('what happened before the subscription is not told', async () => {
  const pod = await runPod(suite.daemon);
  const containerId = await createContainer(suite.daemon, pod, containerConfig(suite.image));
  const { events, cancel } = subscribe();
  // The subscription begins when the call has arrived: any answered call after it proves that.
  await suite.daemon.runtime.version();
  await suite.daemon.runtime.startContainer({ containerId });
  await waitFor('an event', async () => events.length > 0);
  cancel();
  expect(story(events, new Map([[containerId, 'container']]))).toEqual(['container STARTED']);
});

test('a stream of events ends when the daemon does', async () => {
  const stream = suite.daemon.runtime.getContainerEvents();
  const ended = new Promise((resolve) => {
    stream.on('data', () => {});
    stream.on('error', () => {});
    stream.on('close', resolve);
    stream.on('end', resolve);
  });
  await suite.daemon.runtime.version();
  await suite.daemon.stop();
  await ended;
  await suite.daemon.start();
});

test('whoever subscribes and then lists knows every state, whatever happens meanwhile', async () => {
  const { runtime } = suite.daemon;
  let churning = true;
  const churn = async () => {
    const pods: string[] = [];
    while (churning) {
      const network = {
        linux: { securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } },
      };
      pods.push((await runPod(suite.daemon, network)).id);
      if (pods.length > 2) await runtime.removePodSandbox({ podSandboxId: pods.shift()! });
    }
  };
  const churns = [churn(), churn()];
  const known = new Map<string, string>();
  const stream = runtime.getContainerEvents();
  const heard: ContainerEventResponse[] = [];
  stream.on('data', (event: ContainerEventResponse) => heard.push(event)).on('error', () => {});
  await new Promise((resolve) => stream.once('metadata', resolve));
  for (const { id, state } of (await runtime.listPodSandbox()).items) known.set(id, `${state}`);
  await waitFor('some events', async () => heard.length > 20, 20_000);
  churning = false;
  await Promise.all(churns);
  const last = await runPod(suite.daemon);
  await waitFor('the last event', async () => story(heard, new Map([[last.id, 'x']])).length === 2);
  stream.cancel();
  for (const event of heard) {
    const { containerId: id, containerEventType: type, podSandboxStatus } = event;
    expect(podSandboxStatus).toMatchObject({ id, metadata: expect.anything() });
    if (type === ContainerEventType.CONTAINER_DELETED_EVENT) known.delete(id);
    else known.set(id, `${podSandboxStatus?.state}`);
  }
  const { items } = await runtime.listPodSandbox();
  expect(Object.fromEntries(known)).toEqual(
    Object.fromEntries(items.map(({ id, state }) => [id, `${state}`])),
  );
});
