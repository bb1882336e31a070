import { randomBytes } from 'node:crypto';
import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { NamespaceMode, PodSandboxState } from '../../src/gen/runtime/v1/api.ts';
import {
  containerConfig,
  DEFAULT_RUNTIME,
  podConfig,
  runContainer,
  runPod,
} from '../harness/index.ts';
import { gvisorRefuses } from './gvisor-limits.ts';
import { codeOf, criSuite } from './suite.ts';

const suite = criSuite();
const { CONTAINER, NODE } = NamespaceMode;
const UNKNOWN_ID = randomBytes(32).toString('hex');

test('a pod sandbox is ready with an address, and its status says what was asked', async () => {
  const { daemon } = suite;
  const before = BigInt(Date.now()) * 1_000_000n;
  const pod = await runPod(daemon, {
    labels: { app: 'web' },
    annotations: { 'example.com/note': 'two\nlines' },
    metadata: { attempt: 3 },
  });
  expect(pod.id).toMatch(/^[0-9a-f]{64}$/);
  const { status, info } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
  expect(status).toMatchObject({
    id: pod.id,
    metadata: pod.config.metadata,
    state: PodSandboxState.SANDBOX_READY,
    labels: pod.config.labels,
    annotations: { 'example.com/note': 'two\nlines' },
    runtimeHandler: DEFAULT_RUNTIME,
    linux: { namespaces: { options: { network: 0, pid: 1, ipc: 0 } } },
  });
  expect(status!.labels['app']).toBe('web');
  expect(status!.metadata!.attempt).toBe(3);
  expect(status!.network!.ip.startsWith(daemon.network!.subnet.replace(/0\/24$/, ''))).toBe(true);
  expect(status!.createdAt).toBeGreaterThanOrEqual(before);
  expect(info).toEqual({});
});

test('verbose status tells more, as JSON under "info"', async () => {
  const { daemon } = suite;
  const pod = await runPod(daemon);
  const { info } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
  const parsed = JSON.parse(info['info']!);
  expect(parsed.pid).toBeTypeOf('number');
  expect(parsed.config.metadata.name).toBe(pod.config.metadata!.name);
});

test('the namespaces options of a sandbox are echoed', gvisorRefuses, async () => {
  const { daemon } = suite;
  const options = { network: NODE, pid: CONTAINER, ipc: NODE };
  const pod = await runPod(daemon, { linux: { securityContext: { namespaceOptions: options } } });
  const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
  expect(status!.linux!.namespaces!.options).toMatchObject(options);
  expect(status!.network!.ip).toBe('');
});

test('a second sandbox of the same name is refused until the first one is removed', async () => {
  const { daemon } = suite;
  const config = podConfig();
  const first = await daemon.runtime.runPodSandbox({ config });
  expect(await codeOf(daemon.runtime.runPodSandbox({ config }))).toBe('ALREADY_EXISTS');
  await daemon.runtime.stopPodSandbox({ podSandboxId: first.podSandboxId });
  expect(await codeOf(daemon.runtime.runPodSandbox({ config }))).toBe('ALREADY_EXISTS');
  // Another attempt, and another pod that took the name over, are other names.
  for (const other of [{ attempt: 1 }, { uid: 'other' }]) {
    const next = podConfig({ ...config, metadata: { ...config.metadata, ...other } });
    expect(await codeOf(daemon.runtime.runPodSandbox({ config: next }))).toBe('OK');
  }
  await daemon.runtime.removePodSandbox({ podSandboxId: first.podSandboxId });
  const again = await daemon.runtime.runPodSandbox({ config });
  expect(again.podSandboxId).not.toBe(first.podSandboxId);
});

test('two identical calls at the same time make one sandbox', async () => {
  const { daemon } = suite;
  const config = podConfig();
  const [first, second] = await Promise.all([
    daemon.runtime.runPodSandbox({ config }),
    daemon.runtime.runPodSandbox({ config }),
  ]);
  expect(second.podSandboxId).toBe(first.podSandboxId);
});

test('a sandbox that cannot be made leaves nothing and keeps no name', async () => {
  const { daemon } = suite;
  const config = podConfig({ linux: { sysctls: { 'net.ipv4.no_such_thing': '1' } } });
  const records = join(daemon.paths.state, 'sandboxes');
  const before = await readdir(records);
  expect(await codeOf(daemon.runtime.runPodSandbox({ config }))).not.toBe('OK');
  expect(await readdir(records)).toEqual(before);
  const { items } = await daemon.runtime.listPodSandbox({
    filter: { labelSelector: config.labels },
  });
  expect(items).toEqual([]);
  config.linux!.sysctls = {};
  expect(await codeOf(daemon.runtime.runPodSandbox({ config }))).toBe('OK');
});

test('a config without what makes its name, or of an unknown handler, is refused', async () => {
  const { runtime } = suite.daemon;
  const without = (metadata: object) =>
    codeOf(
      runtime.runPodSandbox({
        config: { metadata: { name: 'n', namespace: 'ns', uid: 'u', ...metadata } },
      }),
    );
  expect(await codeOf(runtime.runPodSandbox({}))).toBe('INVALID_ARGUMENT');
  expect(await codeOf(runtime.runPodSandbox({ config: {} }))).toBe('INVALID_ARGUMENT');
  expect(await without({ name: '' })).toBe('INVALID_ARGUMENT');
  expect(await without({ namespace: '' })).toBe('INVALID_ARGUMENT');
  expect(await without({ uid: '' })).toBe('INVALID_ARGUMENT');
  const call = runtime.runPodSandbox({ config: podConfig(), runtimeHandler: 'no-such-handler' });
  await expect(call).rejects.toMatchObject({
    code: 3,
    details: expect.stringContaining('"no-such-handler"'),
  });
});

test('stopping a sandbox ends its containers and gives its network back; again is fine', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const running = await runContainer(daemon, pod, containerConfig(image));
  const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
  const lease = join(daemon.paths.leases, daemon.network!.name, status!.network!.ip);
  await access(lease);
  await daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  await daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  const after = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
  expect(after.status!.state).toBe(PodSandboxState.SANDBOX_NOTREADY);
  expect(after.status!.network!.ip).toBe('');
  await expect(access(lease)).rejects.toThrow();
  const container = await daemon.runtime.containerStatus({ containerId: running });
  expect(container.status).toMatchObject({ state: 2, exitCode: 137, reason: 'Error' });
});

test('removing a sandbox stops it and takes its containers along; again is fine', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const containerId = await runContainer(daemon, pod, containerConfig(image));
  await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  const gone = daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
  expect(await codeOf(gone)).toBe('NOT_FOUND');
  expect(await codeOf(daemon.runtime.containerStatus({ containerId }))).toBe('NOT_FOUND');
  expect((await readdir('/run/netns')).join()).not.toContain(pod.id.slice(0, 16));
});

test('ids that are unknown or missing', async () => {
  const { runtime } = suite.daemon;
  expect(await codeOf(runtime.stopPodSandbox({ podSandboxId: UNKNOWN_ID }))).toBe('OK');
  expect(await codeOf(runtime.removePodSandbox({ podSandboxId: UNKNOWN_ID }))).toBe('OK');
  expect(await codeOf(runtime.podSandboxStatus({ podSandboxId: UNKNOWN_ID }))).toBe('NOT_FOUND');
  expect(await codeOf(runtime.stopPodSandbox())).toBe('INVALID_ARGUMENT');
  expect(await codeOf(runtime.removePodSandbox())).toBe('INVALID_ARGUMENT');
  expect(await codeOf(runtime.podSandboxStatus())).toBe('INVALID_ARGUMENT');
});

test('lists are filtered by id, state and labels, all together', async () => {
  const { daemon } = suite;
  const ready = await runPod(daemon, { labels: { group: 'list', tier: 'a' } });
  const stopped = await runPod(daemon, { labels: { group: 'list', tier: 'b' } });
  await daemon.runtime.stopPodSandbox({ podSandboxId: stopped.id });
  const ids = async (filter: object) => {
    const { items } = await daemon.runtime.listPodSandbox({ filter });
    return items.map((item) => item.id).sort();
  };
  const labelSelector = { group: 'list' };
  expect(await ids({ labelSelector })).toEqual([ready.id, stopped.id].sort());
  expect(await ids({ labelSelector: { group: 'list', tier: 'b' } })).toEqual([stopped.id]);
  expect(await ids({ labelSelector: { group: 'other' } })).toEqual([]);
  expect(await ids({ id: ready.id })).toEqual([ready.id]);
  expect(await ids({ id: ready.id.slice(0, 12) })).toEqual([ready.id]);
  expect(await ids({ id: UNKNOWN_ID })).toEqual([]);
  expect(await ids({ labelSelector, state: { state: 0 } })).toEqual([ready.id]);
  expect(await ids({ labelSelector, state: { state: 1 } })).toEqual([stopped.id]);
  expect(await ids({ id: ready.id, state: { state: 1 } })).toEqual([]);
  const { items } = await daemon.runtime.listPodSandbox({ filter: { id: ready.id } });
  expect(items[0]).toMatchObject({
    metadata: ready.config.metadata,
    state: PodSandboxState.SANDBOX_READY,
    labels: ready.config.labels,
    runtimeHandler: DEFAULT_RUNTIME,
  });
  expect(items[0]!.createdAt).toBeGreaterThan(0n);
});

test('a sandbox is found by a prefix of its id, if only one has it', async () => {
  const { daemon } = suite;
  const pod = await runPod(daemon);
  const prefix = pod.id.slice(0, 13);
  const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId: prefix });
  expect(status!.id).toBe(pod.id);
  await daemon.runtime.stopPodSandbox({ podSandboxId: prefix });
  await daemon.runtime.removePodSandbox({ podSandboxId: prefix });
  expect(await codeOf(daemon.runtime.podSandboxStatus({ podSandboxId: pod.id }))).toBe('NOT_FOUND');
});
