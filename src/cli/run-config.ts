import { join, posix } from 'node:path';
import {
  ContainerConfig,
  type DeepPartial,
  type Mount,
  MountPropagation,
  NamespaceMode,
  PodSandboxConfig,
  type PodSandboxStatus,
  type PortMapping,
  Protocol,
} from '../gen/runtime/v1/api.ts';
import { usageError } from './failures.ts';
import { CONTAINER_NAME_LABEL, NAME_LABEL, NAMESPACE_LABEL, UID_LABEL } from './filters.ts';

/** Where the kubelet keeps logs too; tools that collect logs look here. */
const POD_LOGS = '/var/log/pods';

const PROTOCOLS: Readonly<Record<string, Protocol>> = {
  tcp: Protocol.TCP,
  udp: Protocol.UDP,
  sctp: Protocol.SCTP,
};

/** The options of `keelson run` that say what runs. */
export interface RunOptions {
  name?: string;
  namespace: string;
  env?: readonly string[];
  publish?: readonly string[];
  mount?: readonly string[];
  volume?: readonly string[];
  label?: Record<string, string>;
  hostNetwork?: boolean;
  hostname?: string;
  workdir?: string;
  user?: string;
  entrypoint?: string;
  privileged?: boolean;
  readOnly?: boolean;
}

/** Marks pods of `keelson run`, whose log directory goes when they are removed. */
const RUN_ANNOTATION = 'keelson.run';

const NAME = /^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/;

/** The pod of `keelson run`. Its log directory is for it alone. */
export function runPodConfig(image: string, options: RunOptions): PodSandboxConfig {
  const uid = crypto.randomUUID();
  const name = options.name ?? nameFor(image, uid);
  const { namespace } = options;
  for (const text of [name, namespace]) {
    if (!NAME.test(text)) throw usageError(`"${text}" is no name: use a-z, 0-9, "-" and "."`);
  }
  const network = options.hostNetwork ? NamespaceMode.NODE : NamespaceMode.POD;
  return PodSandboxConfig.fromPartial({
    metadata: { name, namespace, uid },
    hostname: options.hostNetwork ? '' : (options.hostname ?? name.slice(0, 63)),
    logDirectory: logDirectory({ name, namespace, uid }),
    portMappings: (options.publish ?? []).map(portMapping),
    labels: {
      ...options.label,
      [NAME_LABEL]: name,
      [NAMESPACE_LABEL]: namespace,
      [UID_LABEL]: uid,
    },
    annotations: { [RUN_ANNOTATION]: '' },
    linux: {
      securityContext: {
        // A container of its own needs no process of the pod to share.
        namespaceOptions: { network, pid: NamespaceMode.CONTAINER },
        privileged: options.privileged ?? false,
      },
    },
  });
}

/** The log directory of a pod of `keelson run`; undefined for other pods. */
export function logDirectoryOfRun(pod: PodSandboxStatus): string | undefined {
  const { metadata, annotations } = pod;
  if (metadata === undefined || !Object.hasOwn(annotations, RUN_ANNOTATION)) return undefined;
  // Made anew from names without slashes, so that it cannot lead elsewhere.
  const { name, namespace, uid } = metadata;
  return [name, namespace, uid].every((part) => NAME.test(part))
    ? logDirectory({ name, namespace, uid })
    : undefined;
}

function logDirectory(pod: { name: string; namespace: string; uid: string }): string {
  return join(POD_LOGS, `${pod.namespace}_${pod.name}_${pod.uid}`);
}

/** A claim, and where the container is to have its volume. */
export interface VolumeMount {
  readonly claim: string;
  readonly containerPath: string;
  readonly readOnly: boolean;
}

/** `CLAIM:/CONTAINER/PATH[:ro]`. */
export function volumeMount(text: string): VolumeMount {
  const [claim = '', containerPath = '', mode = 'rw', ...rest] = text.split(':');
  const fine = NAME.test(claim) && containerPath.startsWith('/') && rest.length === 0;
  if (!fine || (mode !== 'ro' && mode !== 'rw')) {
    throw usageError(`"${text}" is no volume: write CLAIM:/CONTAINER/PATH[:ro]`);
  }
  return { claim, containerPath, readOnly: mode === 'ro' };
}

/** A volume that is ready, where the container is to have it. */
export interface ReadyVolume extends VolumeMount {
  readonly hostPath: string;
  readonly volumeMode: 'Filesystem' | 'Block';
}

export interface RunContainer {
  readonly image: string;
  readonly command: readonly string[];
  readonly pod: PodSandboxConfig;
  readonly options: RunOptions;
  readonly volumes: readonly ReadyVolume[];
  /** Where variables that are handed on come from. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** The one container of that pod. */
export function runContainerConfig(run: RunContainer): ContainerConfig {
  const { image, command, pod, options, volumes, environment } = run;
  const name = 'main';
  return ContainerConfig.fromPartial({
    metadata: { name },
    image: { image, userSpecifiedImage: image },
    command: options.entrypoint === undefined ? [] : [options.entrypoint],
    args: [...command],
    workingDir: options.workdir ?? '',
    envs: (options.env ?? []).map((text) => variable(text, environment)),
    mounts: [
      ...(options.mount ?? []).map(mountOf),
      ...volumes.filter(({ volumeMode }) => volumeMode === 'Filesystem').map(mountOfVolume),
    ],
    devices: volumes
      .filter(({ volumeMode }) => volumeMode === 'Block')
      .map(({ hostPath, containerPath, readOnly }) => ({
        ...{ hostPath, containerPath, permissions: readOnly ? 'r' : 'rwm' },
      })),
    labels: { ...pod.labels, [CONTAINER_NAME_LABEL]: name },
    logPath: posix.join(name, '0.log'),
    linux: {
      securityContext: {
        ...userOf(options.user),
        privileged: options.privileged ?? false,
        readonlyRootfs: options.readOnly ?? false,
        namespaceOptions: pod.linux?.securityContext?.namespaceOptions,
      },
    },
  });
}

/** `[ADDRESS:]HOST:CONTAINER[/PROTOCOL]`; an IPv6 address in brackets. */
export function portMapping(text: string): PortMapping {
  const match = /^(?:(\[[0-9A-Fa-f:.]+\]|[0-9.]+):)?(\d{1,5}):(\d{1,5})(?:\/([a-z]+))?$/.exec(text);
  const protocol = PROTOCOLS[match?.[4] ?? 'tcp'];
  const [hostPort, containerPort] = [Number(match?.[2]), Number(match?.[3])];
  const isPort = (port: number) => port >= 1 && port <= 65535;
  if (match === null || protocol === undefined || !isPort(hostPort) || !isPort(containerPort)) {
    throw usageError(`"${text}" is no port: write [ADDRESS:]HOST:CONTAINER[/tcp|udp|sctp]`);
  }
  const hostIp = match[1]?.replace(/^\[|\]$/g, '') ?? '';
  return { protocol, containerPort, hostPort, hostIp };
}

/** `HOST:CONTAINER[:ro]`, both absolute paths. */
export function mountOf(text: string): DeepPartial<Mount> {
  const [hostPath = '', containerPath = '', mode = 'rw', ...rest] = text.split(':');
  const absolute = hostPath.startsWith('/') && containerPath.startsWith('/');
  if (!absolute || (mode !== 'ro' && mode !== 'rw') || rest.length > 0) {
    throw usageError(`"${text}" is no mount: write /HOST/PATH:/CONTAINER/PATH[:ro]`);
  }
  const propagation = MountPropagation.PROPAGATION_PRIVATE;
  return { hostPath, containerPath, readonly: mode === 'ro', propagation };
}

function mountOfVolume({ hostPath, containerPath, readOnly }: ReadyVolume): DeepPartial<Mount> {
  const propagation = MountPropagation.PROPAGATION_PRIVATE;
  return { hostPath, containerPath, readonly: readOnly, propagation };
}

/** `KEY=VALUE`, or `KEY` for the value that it has here. */
function variable(text: string, environment: Readonly<Record<string, string | undefined>>) {
  const at = text.indexOf('=');
  const key = at < 0 ? text : text.slice(0, at);
  if (key === '') throw usageError(`"${text}" is no variable: write KEY=VALUE`);
  const value = at < 0 ? environment[key] : text.slice(at + 1);
  if (value === undefined) throw usageError(`There is no variable "${key}" here to hand on`);
  return { key, value: Buffer.from(value) };
}

/** A number with an optional group, or a name that the image knows. */
function userOf(user: string | undefined) {
  if (user === undefined) return {};
  const match = /^(\d+)(?::(\d+))?$/.exec(user);
  if (match === null) {
    if (user.includes(':') || user === '') {
      throw usageError(`"${user}" is no user: write UID[:GID] or a name`);
    }
    return { runAsUsername: user };
  }
  const [, uid, gid] = match;
  return {
    runAsUser: { value: uid ?? '0' },
    ...(gid === undefined ? {} : { runAsGroup: { value: gid } }),
  };
}

/** Such as `busybox-1f2e3d4c` for `registry/team/busybox:latest`. */
function nameFor(image: string, uid: string): string {
  const base = image.replace(/@.*$/, '').replace(/^.*\//, '').replace(/:.*$/, '');
  const clean = base
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  return `${clean.slice(0, 40) || 'pod'}-${uid.slice(0, 8)}`;
}
