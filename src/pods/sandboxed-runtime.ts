import { KeelsonError } from '../base/index.ts';
import type { NamespaceType } from '../oci/spec/index.ts';
import { cdiNames } from './cdi-devices.ts';
import type { ContainerConfig, SandboxConfig } from './config.ts';
import type { SandboxRecord } from './records.ts';

/**
 * What a runtime with a kernel of its own (gVisor) cannot give to a pod, though the host's
 * kernel could: it is refused with INVALID_ARGUMENT rather than left out in silence.
 */
export function refusePodInSandbox(config: SandboxConfig, handler: string): void {
  const { namespaces, sysctls } = config;
  refuse(handler, {
    "use the host's PID namespace": namespaces.pid === 'node',
    'use a user namespace': namespaces.user !== undefined,
    "use the host's IPC namespace": namespaces.ipc === 'node',
    'set sysctls other than net.*': Object.keys(sysctls).some((name) => !/^net[./]/.test(name)),
  });
}

/** The same for a container. */
export function refuseContainerInSandbox(config: ContainerConfig, handler: string): void {
  const { namespaces } = config.security;
  refuse(handler, {
    'run a container with a terminal': config.tty,
    "use the host's PID namespace": namespaces.pid === 'node',
    'join the PID namespace of another container': namespaces.pid === 'target',
    'give devices of the host to a container': config.devices.length + cdiNames(config).length > 0,
    'propagate mounts': config.mounts.some((mount) => mount.propagation !== 'private'),
    // Devices of the host cannot be opened through any mount: nodev holds anyway.
    'mount with nosuid': config.mounts.some((mount) => mount.options.includes('nosuid')),
  });
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
