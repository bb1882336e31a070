import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ContainerConfig,
  type DeepPartial,
  NamespaceMode,
  PodSandboxConfig,
} from '../../src/gen/runtime/v1/api.ts';
import type { Daemon } from './daemon.ts';

/** A pod that was started, with the config that CreateContainer wants to see again. */
export interface Pod {
  readonly id: string;
  readonly config: PodSandboxConfig;
}

/** Kubelets ask for this unless the pod says `shareProcessNamespace`. */
const OWN_PROCESSES = { namespaceOptions: { pid: NamespaceMode.CONTAINER } };

/** A sandbox config with a name and uid of its own, as a kubelet would send it. */
export function podConfig(changes: DeepPartial<PodSandboxConfig> = {}): PodSandboxConfig {
  const uid = changes.metadata?.uid ?? randomUUID();
  const name = changes.metadata?.name ?? `pod-${uid.slice(0, 8)}`;
  const namespace = changes.metadata?.namespace ?? 'default';
  return PodSandboxConfig.fromPartial({
    hostname: name,
    ...changes,
    metadata: { attempt: 0, ...changes.metadata, name, uid, namespace },
    labels: {
      'io.kubernetes.pod.name': name,
      'io.kubernetes.pod.namespace': namespace,
      'io.kubernetes.pod.uid': uid,
      ...changes.labels,
    },
    linux: {
      ...changes.linux,
      securityContext: { ...OWN_PROCESSES, ...changes.linux?.securityContext },
    },
  });
}

/** A container config with a name of its own; it sleeps unless told otherwise. */
export function containerConfig(
  image: string,
  changes: DeepPartial<ContainerConfig> = {},
): ContainerConfig {
  const name = changes.metadata?.name ?? `container-${randomUUID().slice(0, 8)}`;
  return ContainerConfig.fromPartial({
    command: ['/bin/sleep', '1000000'],
    logPath: `${name}.log`,
    ...changes,
    metadata: { attempt: 0, ...changes.metadata, name },
    image: { image, ...changes.image },
    linux: {
      ...changes.linux,
      securityContext: { ...OWN_PROCESSES, ...changes.linux?.securityContext },
    },
  });
}

/** Runs a pod whose logs lie below the daemon's directory. */
export async function runPod(
  daemon: Daemon,
  changes: DeepPartial<PodSandboxConfig> = {},
  runtimeHandler = '',
): Promise<Pod> {
  const config = podConfig(changes);
  config.logDirectory ||= join(daemon.paths.logs, config.metadata?.uid ?? '');
  const { podSandboxId } = await daemon.runtime.runPodSandbox({ config, runtimeHandler });
  return { id: podSandboxId, config };
}

/** Creates a container, with the pod's labels beside its own, and answers its id. */
export async function createContainer(
  daemon: Daemon,
  pod: Pod,
  config: ContainerConfig,
): Promise<string> {
  const { containerId } = await daemon.runtime.createContainer({
    podSandboxId: pod.id,
    config: { ...config, labels: { ...pod.config.labels, ...config.labels } },
    sandboxConfig: pod.config,
  });
  return containerId;
}

/** Creates and starts a container and answers its id. */
export async function runContainer(
  daemon: Daemon,
  pod: Pod,
  config: ContainerConfig,
): Promise<string> {
  const containerId = await createContainer(daemon, pod, config);
  await daemon.runtime.startContainer({ containerId });
  return containerId;
}

/** The lines of a container's log, without timestamp and stream; parts of one are put together. */
export async function logLines(pod: Pod, config: ContainerConfig): Promise<string[]> {
  const text = await readFile(join(pod.config.logDirectory, config.logPath), 'utf8');
  const lines: string[] = [];
  const begun = new Map<string, string>();
  for (const record of text.split('\n').slice(0, -1)) {
    const [, stream = '', tag, ...words] = record.split(' ');
    const line = (begun.get(stream) ?? '') + words.join(' ');
    begun.set(stream, tag === 'P' ? line : '');
    if (tag !== 'P') lines.push(line);
  }
  return [...lines, ...[...begun.values()].filter((rest) => rest !== '')];
}
