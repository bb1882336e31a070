import { resolve } from 'node:path';
import { KeelsonError } from '../base/index.ts';
import type { NamespaceType, RuntimeConfig } from '../oci/spec/index.ts';
import { cdiNames } from './cdi-devices.ts';
import type { ContainerConfig, SandboxConfig } from './config.ts';
import type { SandboxRecord } from './records.ts';

/**
 * What a runtime with a kernel of its own (gVisor) cannot give to a pod, though the host's
 * kernel could: it is refused with INVALID_ARGUMENT rather than left out in silence.
 */
export function refusePodInSandbox(config: SandboxConfig, handler: string): void {
  const { namespaces, security, sysctls } = config;
  refuse(handler, {
    "use the host's PID namespace": namespaces.pid === 'node',
    'use a user namespace': namespaces.user !== undefined,
    "use the host's IPC namespace": namespaces.ipc === 'node',
    'use an AppArmor profile of the node': security.apparmor?.type === 'localhost',
    'set sysctls other than net.*': Object.keys(sysctls).some((name) => !/^net[./]/.test(name)),
  });
}

/** The same for a container. */
export function refuseContainerInSandbox(config: ContainerConfig, handler: string): void {
  const { namespaces, apparmor, maskedPaths, readonlyPaths } = config.security;
  refuse(handler, {
    'run a container with a terminal': config.tty,
    "use the host's PID namespace": namespaces.pid === 'node',
    'join the PID namespace of another container': namespaces.pid === 'target',
    'give devices of the host to a container': config.devices.length + cdiNames(config).length > 0,
    'propagate mounts': config.mounts.some((mount) => mount.propagation !== 'private'),
    'use an AppArmor profile of the node': apparmor?.type === 'localhost',
    'mask paths outside of /proc and /sys': isOutside(maskedPaths),
    'make paths outside of /proc and /sys read-only': isOutside(readonlyPaths),
    // Devices of the host cannot be opened through any mount: nodev holds anyway.
    'mount with nosuid': config.mounts.some((mount) => mount.options.includes('nosuid')),
  });
}

/**
 * gVisor leaves masks out. In its own /proc and /sys, where kubelets want them, there is nothing
 * of the host to hide.
 */
function isOutside(paths: readonly string[]): boolean {
  return paths.some((path) => !/^\/(proc|sys)(\/|$)/.test(resolve('/', path)));
}

/** Capabilities that are younger than gVisor's kernel: it starts nothing that names one. */
const UNKNOWN_CAPABILITIES = new Set(['CAP_PERFMON', 'CAP_BPF', 'CAP_CHECKPOINT_RESTORE']);

/** What a container in a pod's own kernel can have of the capabilities that this host has. */
export function capabilitiesInSandbox(bounding: ReadonlySet<string>): ReadonlySet<string> {
  return new Set([...bounding].filter((name) => !UNKNOWN_CAPABILITIES.has(name)));
}

/**
 * gVisor gives the first process the sets as they are. Linux leaves a user other than root
 * nothing but the ambient ones when its program begins.
 */
export function withCapabilitiesOfUser(config: RuntimeConfig): RuntimeConfig {
  const { user, capabilities } = config.process;
  if (user.uid === 0 || capabilities === undefined) return config;
  const { ambient } = capabilities;
  const left = { ...capabilities, effective: ambient, permitted: ambient };
  return { ...config, process: { ...config.process, capabilities: left } };
}

function refuse(handler: string, wishes: Record<string, boolean>): void {
  for (const [wish, isWished] of Object.entries(wishes)) {
    if (!isWished) continue;
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot ${wish}`, {
      reason: `runtime handler "${handler}" has a kernel of its own for each pod`,
    });
  }
}

/** Namespaces of a container in its pod's sandbox; without one for PIDs it shares the pod's. */
export function namespacesInSandbox(
  pid: 'own' | 'shared',
  { net, ipc, uts }: SandboxRecord['namespaces'],
): Partial<Record<NamespaceType, string | undefined>> {
  return {
    mount: undefined,
    ...(net === undefined ? {} : { network: net }),
    ...(ipc === undefined ? {} : { ipc }),
    ...(uts === undefined ? {} : { uts }),
    ...(pid === 'own' ? { pid: undefined } : {}),
  };
}
