import {
  Container,
  ContainerStatus,
  ContainerState as CriContainerState,
  NamespaceMode as CriMode,
  PodSandbox,
  PodSandboxState,
  PodSandboxStatus,
} from '../gen/runtime/v1/api.ts';
import type { ContainerRecord, NamespaceMode, SandboxRecord } from '../pods/index.ts';
import { fromStopSignal } from './container-config.ts';
import { fromImageReference } from './image-spec.ts';
import { fromMount } from './mount.ts';
import { fromResources } from './resources.ts';

const MODE: Record<NamespaceMode, CriMode> = {
  pod: CriMode.POD,
  container: CriMode.CONTAINER,
  node: CriMode.NODE,
  target: CriMode.TARGET,
};

export function sandboxState(record: SandboxRecord): PodSandboxState {
  return record.state.phase === 'ready'
    ? PodSandboxState.SANDBOX_READY
    : PodSandboxState.SANDBOX_NOTREADY;
}

export function sandboxItem(record: SandboxRecord): PodSandbox {
  return PodSandbox.fromPartial({
    id: record.id,
    metadata: record.config.metadata,
    state: sandboxState(record),
    createdAt: BigInt(record.createdAt),
    labels: record.config.labels,
    annotations: record.config.annotations,
    runtimeHandler: record.handler,
  });
}

export function sandboxStatus(record: SandboxRecord): PodSandboxStatus {
  const { namespaces } = record.config;
  const { user } = namespaces;
  const [ip = '', ...more] = record.ips;
  return PodSandboxStatus.fromPartial({
    id: record.id,
    metadata: record.config.metadata,
    state: sandboxState(record),
    createdAt: BigInt(record.createdAt),
    network: { ip, additionalIps: more.map((each) => ({ ip: each })) },
    linux: {
      namespaces: {
        options: {
          network: MODE[namespaces.network],
          pid: MODE[namespaces.pid],
          ipc: MODE[namespaces.ipc],
          usernsOptions: user && { mode: CriMode.POD, uids: [user.uids], gids: [user.gids] },
        },
      },
    },
    labels: record.config.labels,
    annotations: record.config.annotations,
    runtimeHandler: record.handler,
  });
}

export function containerState(record: ContainerRecord): CriContainerState {
  switch (record.state.phase) {
    case 'creating':
    case 'created':
      return CriContainerState.CONTAINER_CREATED;
    case 'running':
      return CriContainerState.CONTAINER_RUNNING;
    case 'exited':
      return CriContainerState.CONTAINER_EXITED;
  }
}

export function containerItem(record: ContainerRecord): Container {
  return Container.fromPartial({
    id: record.id,
    podSandboxId: record.sandboxId,
    metadata: record.config.metadata,
    image: fromImageReference(record.config.image),
    imageRef: record.imageRef,
    imageId: record.imageId,
    state: containerState(record),
    createdAt: BigInt(record.createdAt),
    labels: record.config.labels,
    annotations: record.config.annotations,
  });
}

export function containerStatus(record: ContainerRecord): ContainerStatus {
  const { state, config } = record;
  const times = {
    startedAt: BigInt('startedAt' in state ? state.startedAt : 0),
    finishedAt: BigInt('finishedAt' in state ? state.finishedAt : 0),
  };
  return ContainerStatus.fromPartial({
    id: record.id,
    metadata: config.metadata,
    state: containerState(record),
    createdAt: BigInt(record.createdAt),
    ...times,
    ...(state.phase === 'exited'
      ? { exitCode: state.exitCode, reason: state.reason, message: state.message }
      : {}),
    image: fromImageReference(config.image),
    imageRef: record.imageRef,
    imageId: record.imageId,
    labels: config.labels,
    annotations: config.annotations,
    mounts: config.mounts.map(fromMount),
    logPath: record.logPath ?? '',
    resources: { linux: fromResources(config.resources) },
    user: {
      linux: {
        uid: BigInt(record.user.uid),
        gid: BigInt(record.user.gid),
        supplementalGroups: record.user.supplementalGroups.map(BigInt),
      },
    },
    stopSignal: fromStopSignal(record.stopSignal),
  });
}
