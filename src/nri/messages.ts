import * as api from '../gen/nri/v1alpha1/api.ts';
import type { Hook, Hooks, LinuxConfig, RuntimeConfig } from '../oci/spec/index.ts';
import type {
  ContainerRecord,
  ContainerState,
  SandboxRecord,
  SecurityProfile,
} from '../pods/index.ts';
import { limitsMessage } from './adjust/index.ts';

/** A sandbox as plugins get to know it. */
export function podMessage(sandbox: SandboxRecord): api.PodSandbox {
  const { metadata, labels, annotations, overhead, resources, cgroupParent } = sandbox.config;
  return api.PodSandbox.fromPartial({
    id: sandbox.id,
    name: metadata.name,
    uid: metadata.uid,
    namespace: metadata.namespace,
    ...{ labels, annotations },
    runtimeHandler: sandbox.handler,
    linux: {
      ...(overhead === undefined ? {} : { podOverhead: limitsMessage(overhead) }),
      ...(resources === undefined ? {} : { podResources: limitsMessage(resources) }),
      cgroupParent,
      namespaces: namespacesOf(sandbox),
    },
    pid: sandbox.init?.pid ?? 0,
    ips: sandbox.ips,
  });
}

function namespacesOf({ namespaces }: SandboxRecord): api.LinuxNamespace[] {
  const types = { net: 'network', ipc: 'ipc', uts: 'uts', pid: 'pid' } as const;
  return Object.entries(namespaces).map(([key, path]) => ({
    type: types[key as keyof typeof types],
    path: path ?? '',
  }));
}

/** A container as plugins get to know it; without its config.json if that is gone. */
export function containerMessage(
  container: ContainerRecord,
  spec: RuntimeConfig | undefined,
): api.Container {
  const { config, state, user } = container;
  return api.Container.fromPartial({
    id: container.id,
    podSandboxId: container.sandboxId,
    name: config.metadata.name,
    labels: config.labels,
    annotations: { ...config.annotations, ...spec?.annotations },
    ...processOf(spec),
    ...stateOf(state),
    createdAt: BigInt(container.createdAt),
    linux: {
      resources: limitsMessage(config.resources),
      cgroupsPath: container.cgroupsPath,
      seccompProfile: profileOf(config.security.seccomp),
      ...(spec === undefined ? {} : linuxOf(spec)),
    },
    user: { uid: user.uid, gid: user.gid, additionalGids: user.supplementalGroups },
    image: {
      name: config.image.userSpecifiedImage || config.image.image,
      digest: container.imageRef.includes('@') ? (container.imageRef.split('@')[1] ?? '') : '',
      configDigest: container.imageId,
    },
  });
}

function processOf(spec: RuntimeConfig | undefined) {
  if (spec === undefined) return {};
  const { args, env, rlimits = [] } = spec.process;
  return {
    ...{ args, env },
    mounts: spec.mounts.map(({ destination, type = '', source = '', options = [] }) => ({
      ...{ destination, type, source, options },
    })),
    ...(spec.hooks === undefined ? {} : { hooks: hooksOf(spec.hooks) }),
    rlimits: rlimits.map(({ type, hard, soft }) => ({
      type,
      hard: BigInt(hard),
      soft: BigInt(soft),
    })),
  };
}

function hooksOf(hooks: Hooks) {
  const kinds = Object.entries(hooks).map(([kind, list]: [string, Hook[]]) => [
    kind,
    list.map(({ timeout, ...hook }) => ({
      ...hook,
      ...(timeout === undefined ? {} : { timeout: { value: BigInt(timeout) } }),
    })),
  ]);
  return Object.fromEntries(kinds) as api.DeepPartial<api.Hooks>;
}

function stateOf(state: ContainerState): api.DeepPartial<api.Container> {
  const { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_STOPPED } = api.ContainerState;
  switch (state.phase) {
    case 'creating':
      return { state: CONTAINER_CREATED };
    case 'created':
      return { state: CONTAINER_CREATED, pid: state.process.pid };
    case 'running':
      return {
        state: CONTAINER_RUNNING,
        pid: state.process.pid,
        startedAt: BigInt(state.startedAt),
      };
    case 'exited':
      return {
        state: CONTAINER_STOPPED,
        startedAt: BigInt(state.startedAt),
        finishedAt: BigInt(state.finishedAt),
        exitCode: state.exitCode,
        statusReason: state.reason,
        statusMessage: state.message,
      };
  }
}

function profileOf(profile: SecurityProfile): api.SecurityProfile {
  const { RUNTIME_DEFAULT, UNCONFINED, LOCALHOST } = api.SecurityProfile_ProfileType;
  const types = {
    'runtime-default': RUNTIME_DEFAULT,
    unconfined: UNCONFINED,
    localhost: LOCALHOST,
  };
  const localhostRef = profile.type === 'localhost' ? profile.reference : '';
  return { profileType: types[profile.type], localhostRef };
}

function linuxOf({ linux, process }: RuntimeConfig): api.DeepPartial<api.LinuxContainer> {
  const { oomScoreAdj } = process;
  return {
    namespaces: linux.namespaces.map(({ type, path = '' }) => ({ type, path })),
    devices: (linux.devices ?? []).map(deviceOf),
    ...(oomScoreAdj === undefined ? {} : { oomScoreAdj: { value: BigInt(oomScoreAdj) } }),
    cgroupsPath: linux.cgroupsPath,
    ...(linux.seccomp === undefined ? {} : { seccompPolicy: seccompOf(linux.seccomp) }),
    sysctl: linux.sysctl ?? {},
    netDevices: linux.netDevices ?? {},
    ...(linux.intelRdt?.closID === undefined
      ? {}
      : { rdt: { closId: { value: linux.intelRdt.closID } } }),
  };
}

function deviceOf(device: NonNullable<LinuxConfig['devices']>[number]) {
  const { fileMode, uid, gid, major, minor, ...rest } = device;
  return {
    ...rest,
    major: BigInt(major),
    minor: BigInt(minor),
    ...(fileMode === undefined ? {} : { fileMode: { value: fileMode } }),
    ...(uid === undefined ? {} : { uid: { value: uid } }),
    ...(gid === undefined ? {} : { gid: { value: gid } }),
  };
}

function seccompOf(
  seccomp: NonNullable<LinuxConfig['seccomp']>,
): api.DeepPartial<api.LinuxSeccomp> {
  const { defaultErrnoRet, syscalls = [], ...rest } = seccomp;
  return {
    ...rest,
    ...(defaultErrnoRet === undefined ? {} : { defaultErrno: { value: defaultErrnoRet } }),
    syscalls: syscalls.map(({ errnoRet, args = [], ...rule }) => ({
      ...rule,
      ...(errnoRet === undefined ? {} : { errnoRet: { value: errnoRet } }),
      args: args.map(({ value, valueTwo = 0, ...arg }) => ({
        ...arg,
        value: BigInt(value),
        valueTwo: BigInt(valueTwo),
      })),
    })),
  };
}
