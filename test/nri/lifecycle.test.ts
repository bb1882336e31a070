import { expect, test } from 'vitest';
import { ContainerState, PodSandboxState } from '../../src/gen/runtime/v1/api.ts';
import { codeOf, criSuite, ended, shell, statusOf } from '../cri/suite.ts';
import {
  ConnectedPlugin,
  containerConfig,
  createContainer,
  PluginProgram,
  pluginsOf,
  podConfig,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { connector } from './connect.ts';

const suite = criSuite();
const connect = connector(suite);

test('a plugin learns of each event once, in order', async () => {
  const { daemon, image } = suite;
  await using plugin = await PluginProgram.connect(daemon, '10-watcher');
  const pod = await runPod(daemon, { labels: { app: 'web' }, annotations: { note: 'n' } });
  const config = containerConfig(image, { labels: { tier: 'front' }, annotations: { a: 'b' } });
  const id = await runContainer(daemon, pod, config);
  await daemon.runtime.updateContainerResources({ containerId: id, linux: { cpuShares: 512n } });
  await daemon.runtime.updatePodSandboxResources({
    podSandboxId: pod.id,
    resources: { cpuShares: 512n },
    overhead: { cpuShares: 2n },
  });
  await daemon.runtime.stopContainer({ containerId: id });
  await daemon.runtime.stopContainer({ containerId: id });
  await daemon.runtime.removeContainer({ containerId: id });
  await daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  await daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });

  expect(plugin.methods).toEqual([
    ...['Configure', 'Synchronize', 'RunPodSandbox'],
    ...['CreateContainer', 'ValidateContainerAdjustment', 'PostCreateContainer'],
    ...['StartContainer', 'PostStartContainer', 'UpdateContainer', 'PostUpdateContainer'],
    ...['UpdatePodSandbox', 'PostUpdatePodSandbox', 'StopContainer', 'RemoveContainer'],
    ...['StopPodSandbox', 'RemovePodSandbox'],
  ]);
  expect(plugin.requests('Configure')[0]).toMatchObject({
    runtimeName: 'keelson',
    requestTimeout: '2000',
    registrationTimeout: '5000',
  });
  const [run] = plugin.requests('RunPodSandbox');
  expect(run.pod).toMatchObject({
    id: pod.id,
    name: pod.config.metadata!.name,
    uid: pod.config.metadata!.uid,
    namespace: 'default',
    labels: { app: 'web' },
    annotations: { note: 'n' },
    runtimeHandler: 'crun',
    ips: [expect.stringMatching(/^\d+\.\d+\.\d+\.\d+$/)],
  });
  const [create] = plugin.requests('CreateContainer');
  expect(create.container).toMatchObject({
    id,
    podSandboxId: pod.id,
    name: config.metadata!.name,
    labels: { tier: 'front' },
    annotations: { a: 'b', 'io.kubernetes.cri.sandbox-id': pod.id },
    args: ['/bin/sleep', '1000000'],
    image: { name: image, configDigest: expect.stringMatching(/^sha256:/) },
  });
  expect(
    create.container.mounts.map((mount: { destination: string }) => mount.destination),
  ).toEqual(expect.arrayContaining(['/proc', '/etc/hosts']));
  const [started] = plugin.requests('PostStartContainer');
  expect(started.container).toMatchObject({ state: 'CONTAINER_RUNNING', pid: expect.any(Number) });
  const [update] = plugin.requests('UpdateContainer');
  expect(update.linuxResources.cpu).toMatchObject({ shares: { value: '512' } });
  const [updated] = plugin.requests('PostUpdateContainer');
  expect(updated.container.linux.resources.cpu.shares).toEqual({ value: '512' });
  const [podUpdate] = plugin.requests('UpdatePodSandbox');
  expect(podUpdate.overheadLinuxResources.cpu.shares).toEqual({ value: '2' });
  const [stopped] = plugin.requests('StopContainer');
  expect(stopped.container).toMatchObject({ state: 'CONTAINER_STOPPED', exitCode: 137 });
});

test('an end that nobody asked for is told too, before the pod is stopped', async () => {
  const { daemon, image } = suite;
  const plugin = await connect('10-watcher');
  const pod = await runPod(daemon);
  const id = await runContainer(daemon, pod, containerConfig(image, shell('exit 3')));
  await ended(daemon, id);
  await waitFor('the event', () => plugin.requests('StopContainer').length === 1);
  expect(plugin.requests('StopContainer')[0].container).toMatchObject({ id, exitCode: 3 });
  await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  expect(plugin.methods.slice(-4)).toEqual([
    ...['StopContainer', 'StopPodSandbox', 'RemoveContainer', 'RemovePodSandbox'],
  ]);
});

test('a plugin gets what it subscribed to; the first by index is asked first', async () => {
  const { daemon, image } = suite;
  // RunPodSandbox and StartContainer alone.
  const late = await connect('90-late', { Configure: { respond: { events: 0x21 } } });
  const early = await connect('05-early', {
    CreateContainer: { respond: { adjust: { env: [{ key: 'FROM', value: 'early' }] } } },
  });
  const middle = await connect('50-middle');
  expect((await pluginsOf(daemon)).map(({ name }) => name)).toEqual([
    ...['05-early', '50-middle', '90-late'],
  ]);
  const pod = await runPod(daemon);
  await runContainer(daemon, pod, containerConfig(image));
  expect(late.methods).toEqual(['Configure', 'Synchronize', 'RunPodSandbox', 'StartContainer']);
  expect(early.requests('CreateContainer')[0].container.env).not.toContain('FROM=early');
  expect(middle.requests('CreateContainer')[0].container.env).toContain('FROM=early');
  await daemon.removePods();
});

test('a plugin is asked one thing at a time, however much happens', async () => {
  const { daemon } = suite;
  const delay = { delay: 30 };
  const plugin = await connect('10-slow', {
    RunPodSandbox: delay,
    StopPodSandbox: delay,
    RemovePodSandbox: delay,
  });
  await Promise.all([1, 2, 3, 4].map(() => runPod(daemon)));
  await daemon.removePods();
  expect(plugin.methods).toHaveLength(2 + 4 * 3);
  expect(plugin.mostAsked).toBe(1);
});

test('a plugin without a method learns of the event through StateChange', async () => {
  const { daemon } = suite;
  const unimplemented = { error: { code: 12, message: 'not here' } };
  const plugin = await connect('10-old', {
    RunPodSandbox: unimplemented,
    StopPodSandbox: unimplemented,
    UpdatePodSandbox: unimplemented,
  });
  const pod = await runPod(daemon);
  const resources = { podSandboxId: pod.id, resources: { cpuShares: 512n } };
  await daemon.runtime.updatePodSandboxResources(resources);
  await daemon.runtime.updatePodSandboxResources(resources);
  await daemon.removePods();
  await daemon.removePods();
  expect(plugin.requests('StateChange').map(({ event }) => event)).toEqual([
    ...['RUN_POD_SANDBOX', 'STOP_POD_SANDBOX'],
  ]);
  expect(plugin.requests('UpdatePodSandbox')).toHaveLength(1);
  const again = await runPod(daemon);
  expect(plugin.requests('StateChange').at(-1).pod.id).toBe(again.id);
  expect(plugin.requests('RunPodSandbox')).toHaveLength(1);
  await daemon.removePods();
});

test('what plugins are still asked about is not there yet', async () => {
  const { daemon, image } = suite;
  const hold = Promise.withResolvers<void>();
  const plugin = await connect('10-slow', { RunPodSandbox: { after: hold.promise } });
  const asked = async (method: string) => {
    await waitFor(method, () => plugin.methods.includes(method));
    return plugin.requests(method)[0];
  };
  const config = podConfig();
  const running = daemon.runtime.runPodSandbox({ config });
  const podSandboxId = (await asked('RunPodSandbox')).pod.id as string;
  expect((await daemon.runtime.listPodSandbox()).items).toEqual([]);
  const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId });
  expect(status!.state).toBe(PodSandboxState.SANDBOX_NOTREADY);
  const pod = { id: podSandboxId, config };
  const create = () => createContainer(daemon, pod, containerConfig(image));
  expect(await codeOf(create())).toBe('FAILED_PRECONDITION');
  hold.resolve();
  expect((await running).podSandboxId).toBe(podSandboxId);

  const second = Promise.withResolvers<void>();
  await plugin.behave({ CreateContainer: { after: second.promise } });
  const creating = create();
  const containerId = (await asked('CreateContainer')).container.id as string;
  expect((await daemon.runtime.listContainers()).containers).toEqual([]);
  expect(await codeOf(daemon.runtime.containerStatus({ containerId }))).toBe('NOT_FOUND');
  second.resolve();
  expect(await creating).toBe(containerId);
  expect((await statusOf(daemon, containerId)).state).toBe(ContainerState.CONTAINER_CREATED);
});

test('a pod is stopped for plugins when its containers have ended, and once', async () => {
  const { daemon, image } = suite;
  const hold = Promise.withResolvers<void>();
  const plugin = await connect('10-slow', { StopPodSandbox: { after: hold.promise } });
  const pod = await runPod(daemon);
  await runContainer(daemon, pod, containerConfig(image));
  const stop = () => daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  const stopping = stop();
  await waitFor('the question', () => plugin.methods.includes('StopPodSandbox'));
  const { containers } = await daemon.runtime.listContainers();
  expect(containers.map(({ state }) => state)).toEqual([ContainerState.CONTAINER_EXITED]);
  const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
  expect(status!.id).toBe(pod.id);
  hold.resolve();
  await stopping;
  await stop();
  const again = createContainer(daemon, pod, containerConfig(image));
  expect(await codeOf(again)).toBe('FAILED_PRECONDITION');
  expect(plugin.methods.slice(-2)).toEqual(['StopContainer', 'StopPodSandbox']);
});

test('requests that make no sense reach no plugin', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const plugin = await connect('10-watcher');
  const { runtime } = daemon;
  const config = containerConfig(image);
  const { metadata: _, ...nameless } = config;
  const unknown = { podSandboxId: 'unknown', containerId: 'unknown' };
  const calls: [string, Promise<unknown>][] = [
    ['NOT_FOUND', createContainer(daemon, { id: 'unknown', config: pod.config }, config)],
    ['INVALID_ARGUMENT', runtime.createContainer({ podSandboxId: pod.id, config: nameless })],
    ['INVALID_ARGUMENT', runtime.runPodSandbox({ config: { labels: {} } })],
    ['ALREADY_EXISTS', runtime.runPodSandbox({ config: pod.config })],
    ['NOT_FOUND', runtime.startContainer(unknown)],
    ['OK', runtime.stopContainer(unknown)],
    ['OK', runtime.removeContainer(unknown)],
    ['OK', runtime.stopPodSandbox(unknown)],
    ['OK', runtime.removePodSandbox(unknown)],
  ];
  const codes = await Promise.all(calls.map(([, call]) => codeOf(call)));
  expect(codes).toEqual(calls.map(([code]) => code));
  expect(plugin.methods).toEqual(['Configure', 'Synchronize']);
});

test('a plugin that is slow to take in what there is loses nothing of what comes meanwhile', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const start = () => runContainer(daemon, pod, containerConfig(image));
  const before = await start();
  // More than it has for an event.
  const answers = { Synchronize: { delay: 2200 } };
  await using plugin = ConnectedPlugin.launch(daemon, '10-slow', answers);
  await waitFor('the question', () => plugin.methods.includes('Synchronize'));
  const meanwhile = await Promise.all([start(), start()]);
  const after = await start();
  const [{ containers }] = plugin.requests('Synchronize');
  expect(containers.map(({ id }: { id: string }) => id)).toEqual([before]);
  const created = plugin.requests('CreateContainer').map(({ container }) => container.id);
  expect(created.slice(0, 2).sort()).toEqual(meanwhile.sort());
  expect(created.slice(2)).toEqual([after]);
});

test('a plugin that comes later, or after a restart of the daemon, is told what there is', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const running = await runContainer(daemon, pod, containerConfig(image));
  const created = await createContainer(daemon, pod, containerConfig(image));
  const over = await runContainer(daemon, pod, containerConfig(image, shell('true')));
  await ended(daemon, over);
  const states = (plugin: ConnectedPlugin) => {
    const [{ pods, containers }] = plugin.requests('Synchronize') as [
      { pods: { id: string }[]; containers: { id: string; state: string; args: string[] }[] },
    ];
    expect(pods.map(({ id }) => id)).toEqual([pod.id]);
    expect(containers.every(({ args }) => args[0] === '/bin/sleep')).toBe(true);
    return Object.fromEntries(containers.map(({ id, state }) => [id, state]));
  };
  const present = { [running]: 'CONTAINER_RUNNING', [created]: 'CONTAINER_CREATED' };
  expect(states(await connect('10-later'))).toEqual(present);
  await daemon.kill9();
  await daemon.start();
  const plugin = await connect('10-again');
  expect(states(plugin)).toEqual(present);
  await daemon.runtime.stopContainer({ containerId: running });
  expect(plugin.methods).toEqual(['Configure', 'Synchronize', 'StopContainer']);
  await daemon.removePods();
});
