import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import {
  ContainerState,
  type DeepPartial,
  type Mount,
  NamespaceMode,
  PodSandboxState,
  Protocol,
} from '../../src/gen/runtime/v1/api.ts';
import { codeOf, execIn, statusOf } from '../cri/suite.ts';
import {
  containerConfig,
  createContainer,
  type Daemon,
  type Pod,
  podConfig,
  runContainer,
  runPod,
} from '../harness/index.ts';
import { reopenLog } from './log-scenario.ts';

/** A call that a crash will interrupt. */
export interface Interrupted {
  call: () => Promise<unknown>;
  /** What must hold of it after the next start, and that trying again works. */
  after: () => Promise<void>;
  /** Ids of what the next start must leave as it is. */
  kept?: readonly string[];
}

/** Brings about what the call needs. */
export type Scenario = (daemon: Daemon, image: string) => Promise<Interrupted>;

/** By the operation whose step the daemon dies after. */
export const SCENARIOS: Record<string, Scenario> = {
  'run-pod-sandbox': runPodSandbox,
  'attach-pod': runPodSandbox,
  'create-container': createOne,
  'start-container': startOne,
  'stop-container': stopOne,
  'remove-container': removeOne,
  'stop-pod-sandbox': stopPodSandbox,
  'detach-pod': stopPodSandbox,
  'remove-pod-sandbox': removePodSandbox,
  'reopen-log': reopenLog,
  'finish-log-rotation': reopenLog,
};

const FREEZER = '/sys/fs/cgroup/freezer';

/** Points that need more than their operation; undefined for one that this host cannot reach. */
export const SPECIAL: Record<string, Scenario | undefined> = {
  'stop-container/kill cgroup': existsSync(FREEZER) ? stopFrozen : undefined,
};

const IDS = { hostId: 500_000, containerId: 0, length: 65_536 };

const SECURITY = {
  linux: {
    securityContext: {
      namespaceOptions: {
        pid: NamespaceMode.POD,
        usernsOptions: { mode: NamespaceMode.POD, uids: [IDS], gids: [IDS] },
      },
    },
  },
};

/** A pod with everything: ids of its own, an init process, and a port of the host. */
const POD = {
  ...SECURITY,
  portMappings: [
    { protocol: Protocol.TCP, containerPort: 80, hostPort: randomInt(20_000, 30_000) },
  ],
};

/** Ignores SIGTERM. */
const STUBBORN = { command: ['/bin/sh', '-c', "trap '' TERM; while :; do sleep 1; done"] };

async function runPodSandbox(daemon: Daemon, image: string): Promise<Interrupted> {
  const config = podConfig({ ...POD, logDirectory: join(daemon.paths.logs, 'crashed') });
  const call = () => daemon.runtime.runPodSandbox({ config });
  const after = async () => {
    const { items } = await daemon.runtime.listPodSandbox();
    if (items.length > 0) {
      // It was ready, and only its id did not reach the client.
      expect(items.map(({ state }) => state)).toEqual([PodSandboxState.SANDBOX_READY]);
      expect(await codeOf(call())).toBe('ALREADY_EXISTS');
    }
    const id = items[0]?.id ?? (await call()).podSandboxId;
    await expectUsable(daemon, { id, config }, image);
  };
  return { call, after };
}

/** What takes mounts while a container is made: a volume with mapped owners, and an image. */
function mountsOf(daemon: Daemon, image: string): DeepPartial<Mount>[] {
  const ids = { uidMappings: [IDS], gidMappings: [IDS] };
  return [
    { containerPath: '/mapped', hostPath: daemon.paths.logs, ...ids },
    { containerPath: '/image', image: { image }, readonly: true },
  ];
}

async function createOne(daemon: Daemon, image: string): Promise<Interrupted> {
  const pod = await runPod(daemon, POD);
  const config = containerConfig(image, { ...SECURITY, mounts: mountsOf(daemon, image) });
  const call = () => createContainer(daemon, pod, config);
  const after = async () => {
    const { containers } = await daemon.runtime.listContainers();
    if (containers.length > 0) {
      expect(containers.map(({ state }) => state)).toEqual([ContainerState.CONTAINER_CREATED]);
      expect(await codeOf(call())).toBe('ALREADY_EXISTS');
    }
    const containerId = containers[0]?.id ?? (await call());
    await daemon.runtime.startContainer({ containerId });
    expect(await execIn(daemon, containerId, 'echo lives')).toBe('lives');
    await expectUsable(daemon, pod, image);
  };
  return { call, after, kept: [pod.id] };
}

async function startOne(daemon: Daemon, image: string): Promise<Interrupted> {
  const pod = await runPod(daemon);
  const config = containerConfig(image);
  const containerId = await createContainer(daemon, pod, config);
  const call = () => daemon.runtime.startContainer({ containerId });
  const after = async () => {
    const { state } = await statusOf(daemon, containerId);
    if (state === ContainerState.CONTAINER_CREATED) await call();
    else expect(await codeOf(call())).toBe('FAILED_PRECONDITION');
    const status = await statusOf(daemon, containerId);
    expect(status.state).toBe(ContainerState.CONTAINER_RUNNING);
    expect(status.startedAt).toBeGreaterThanOrEqual(status.createdAt);
    expect(await execIn(daemon, containerId, 'echo lives')).toBe('lives');
  };
  return { call, after, kept: [pod.id, containerId] };
}

async function stopOne(daemon: Daemon, image: string): Promise<Interrupted> {
  const pod = await runPod(daemon);
  const containerId = await runContainer(daemon, pod, containerConfig(image, STUBBORN));
  const call = () => daemon.runtime.stopContainer({ containerId, timeout: 1n });
  const after = async () => {
    await call();
    const status = await statusOf(daemon, containerId);
    expect(status).toMatchObject({ state: ContainerState.CONTAINER_EXITED, exitCode: 137 });
    await expectUsable(daemon, pod, image);
  };
  return { call, after, kept: [pod.id, containerId] };
}

/** A frozen process does not die of SIGKILL before it thaws; not so under cgroup v2. */
async function stopFrozen(daemon: Daemon, image: string): Promise<Interrupted> {
  const pod = await runPod(daemon);
  const containerId = await runContainer(daemon, pod, containerConfig(image));
  const freezer = `${FREEZER}/keelson/${pod.id}/${containerId}/freezer.state`;
  await writeFile(freezer, 'FROZEN');
  const call = () => daemon.runtime.stopContainer({ containerId, timeout: 0n });
  const after = async () => {
    await writeFile(freezer, 'THAWED');
    await call();
    const { state, exitCode } = await statusOf(daemon, containerId);
    expect({ state, exitCode }).toEqual({ state: ContainerState.CONTAINER_EXITED, exitCode: 137 });
  };
  return { call, after, kept: [pod.id, containerId] };
}

async function removeOne(daemon: Daemon, image: string): Promise<Interrupted> {
  const pod = await runPod(daemon);
  const config = containerConfig(image);
  const containerId = await runContainer(daemon, pod, config);
  const call = () => daemon.runtime.removeContainer({ containerId });
  const after = async () => {
    await call();
    expect((await daemon.runtime.listContainers()).containers).toEqual([]);
    await runContainer(daemon, pod, config);
  };
  return { call, after, kept: [pod.id] };
}

async function stopPodSandbox(daemon: Daemon, image: string): Promise<Interrupted> {
  const pod = await runPod(daemon, POD);
  const containerId = await runContainer(daemon, pod, containerConfig(image, SECURITY));
  const call = () => daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  const after = async () => {
    const notReady = { state: PodSandboxState.SANDBOX_NOTREADY };
    const request = { podSandboxId: pod.id };
    expect((await daemon.runtime.podSandboxStatus(request)).status).toMatchObject(notReady);
    await call();
    expect((await daemon.runtime.podSandboxStatus(request)).status).toMatchObject(notReady);
    const { state, exitCode } = await statusOf(daemon, containerId);
    expect({ state, exitCode }).toEqual({ state: ContainerState.CONTAINER_EXITED, exitCode: 137 });
    expect(await daemon.network!.leftovers()).toEqual([]);
  };
  return { call, after, kept: [pod.id, containerId] };
}

async function removePodSandbox(daemon: Daemon, image: string): Promise<Interrupted> {
  const pod = await runPod(daemon, POD);
  await runContainer(daemon, pod, containerConfig(image, SECURITY));
  const call = () => daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  const after = async () => {
    await call();
    expect((await daemon.runtime.listPodSandbox()).items).toEqual([]);
    const { podSandboxId } = await daemon.runtime.runPodSandbox({ config: pod.config });
    await expectUsable(daemon, { ...pod, id: podSandboxId }, image);
  };
  return { call, after };
}

/** A container in the pod has a network and can be talked to. */
async function expectUsable(daemon: Daemon, pod: Pod, image: string): Promise<void> {
  const options = pod.config.linux?.securityContext?.namespaceOptions;
  const linux =
    options === undefined ? {} : { linux: { securityContext: { namespaceOptions: options } } };
  const id = await runContainer(daemon, pod, containerConfig(image, linux));
  const { gateway } = daemon.network!;
  expect(await execIn(daemon, id, `ping -c 1 -W 5 ${gateway} | grep -c ' 0% packet loss'`)).toBe(
    '1',
  );
}
