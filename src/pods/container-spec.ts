import { readFile } from 'node:fs/promises';
import {
  buildRuntimeConfig,
  type ContainerSpecRequest,
  type ImageConfig,
  type NamespaceType,
  parseRuntimeConfig,
  type RuntimeConfig,
} from '../oci/spec/index.ts';
import { apparmorFor } from './apparmor.ts';
import { cdiAdditions } from './cdi-devices.ts';
import type { ContainerConfig } from './config.ts';
import { hostDevices, requestedDevices } from './container-devices.ts';
import {
  type MountFeatures,
  requestedMounts,
  rootfsPropagation,
  sandboxMounts,
} from './container-mounts.ts';
import type { ContainerPaths } from './container-paths.ts';
import {
  argvOf,
  environmentOf,
  type ProcessDefaults,
  workingDirectoryOf,
} from './container-process.ts';
import { oomScoreAdjFor, resourcesFor } from './container-resources.ts';
import { homeDirectoryOf } from './container-user.ts';
import { volumeMounts } from './image-volumes.ts';
import { pidNamespacePath } from './pid-namespace.ts';
import type { Pods } from './pods.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';
import { hostnameOf, specMappings } from './sandbox-namespaces.ts';
import {
  capabilitiesInSandbox,
  namespacesInSandbox,
  withCapabilitiesOfUser,
} from './sandboxed-runtime.ts';
import { seccompFor } from './seccomp.ts';
import { labelsOf } from './selinux.ts';

/** Everything that goes into a container's config.json. The root filesystem is mounted already. */
export interface ContainerSpecInput {
  container: ContainerRecord;
  sandbox: SandboxRecord;
  image: ImageConfig;
  paths: ContainerPaths;
  /** Where the container's mounts have their sources, in their order. */
  sources: readonly string[];
  mountFeatures: MountFeatures;
}

export async function containerSpec(pods: Pods, input: ContainerSpecInput): Promise<RuntimeConfig> {
  const { container, sandbox, paths } = input;
  const { config } = container;
  const { security } = config;
  const defaults: ProcessDefaults = input.image.config ?? {};
  const hostname = hostnameOf(sandbox.config);
  const cdi = await cdiAdditions(config, pods.settings.cdiDirectories);
  const labels = labelsOf(pods.host.selinux, sandbox, container);
  const isSandboxed = pods.runtimes.get(container.handler).needsSandbox;
  const request: ContainerSpecRequest = {
    rootfs: paths.rootfs,
    readonlyRootfs: security.readonlyRootfs,
    process: {
      args: argvOf(config, defaults),
      env: environmentOf(config, defaults, {
        hostname,
        home: homeDirectoryOf(paths.rootfs, container.user.uid),
        added: cdi.env,
      }),
      cwd: workingDirectoryOf(config, defaults),
      user: {
        uid: container.user.uid,
        gid: container.user.gid,
        additionalGids: [...container.user.supplementalGroups, ...cdi.additionalGids],
      },
      terminal: config.tty,
      noNewPrivileges: security.noNewPrivileges,
      oomScoreAdj: oomScoreAdjFor(config.resources.oomScoreAdj, pods.host),
      apparmorProfile: await apparmorFor(
        { profile: security.apparmor, privileged: security.privileged },
        pods.host,
      ),
      selinuxLabel: labels?.process,
    },
    privileged: security.privileged,
    capabilities: {
      add: security.addCapabilities,
      drop: security.dropCapabilities,
      addAmbient: security.addAmbientCapabilities,
    },
    seccomp: await seccompFor(security.seccomp),
    namespaces: namespacesFor(pods, container, sandbox),
    userMappings: specMappings(sandbox.config.namespaces.user),
    mounts: [
      ...sandboxMounts(sandbox, pods.sandboxes.directoryOf(sandbox.id), {
        mounts: config.mounts,
        readonlyRootfs: security.readonlyRootfs,
      }),
      ...(await volumeMounts(defaults.Volumes ?? {}, {
        mounts: config.mounts,
        paths,
        user: sandbox.config.namespaces.user,
      })),
      ...requestedMounts(config.mounts, input.sources, input.mountFeatures),
      ...cdi.mounts,
    ],
    rootfsPropagation: rootfsPropagation(config.mounts),
    mountLabel: labels?.mount,
    devices: [
      ...(security.privileged && !isSandboxed ? await hostDevices() : []),
      ...(await requestedDevices(config.devices)),
      ...cdi.devices,
    ],
    hooks: cdi.hooks,
    intelRdt: cdi.intelRdt,
    maskedPaths: security.maskedPaths,
    readonlyPaths: security.readonlyPaths,
    resources: resourcesFor(config.resources, pods.host, pods.settings.pidsLimit),
    cgroupsPath: container.cgroupsPath,
    annotations: annotationsFor(container, sandbox),
    host: {
      boundingCapabilities: isSandboxed
        ? capabilitiesInSandbox(pods.host.boundingCapabilities)
        : pods.host.boundingCapabilities,
      cgroupV2: pods.host.cgroups.mode === 'unified' && !isSandboxed,
    },
  };
  const spec = buildRuntimeConfig(request);
  return isSandboxed ? withCapabilitiesOfUser(spec) : spec;
}

function namespacesFor(
  pods: Pods,
  container: ContainerRecord,
  sandbox: SandboxRecord,
): Partial<Record<NamespaceType, string | undefined>> {
  const { security } = container.config;
  if (pods.runtimes.get(container.handler).needsSandbox) {
    const isShared = security.namespaces.pid === 'pod';
    return namespacesInSandbox(isShared ? 'shared' : 'own', sandbox.namespaces);
  }
  const { user, net, ipc, uts } = sandbox.namespaces;
  const pid = pidNamespacePath(pods, security.namespaces, sandbox);
  return {
    ...(user === undefined ? {} : { user }),
    mount: undefined,
    ...(net === undefined ? {} : { network: net }),
    ...(ipc === undefined ? {} : { ipc }),
    ...(uts === undefined ? {} : { uts }),
    ...(pid === 'host' ? {} : { pid: pid === 'new' ? undefined : pid }),
    ...(pods.host.cgroups.mode === 'unified' && !security.privileged ? { cgroup: undefined } : {}),
  };
}

/** Annotations by which runtimes and hooks know what a container is; gVisor needs the first two. */
function annotationsFor(
  container: ContainerRecord,
  sandbox: SandboxRecord,
): Record<string, string> {
  const { metadata } = sandbox.config;
  return {
    'io.kubernetes.cri.container-type': 'container',
    'io.kubernetes.cri.sandbox-id': sandbox.id,
    'io.kubernetes.cri.sandbox-name': metadata.name,
    'io.kubernetes.cri.sandbox-namespace': metadata.namespace,
    'io.kubernetes.cri.sandbox-uid': metadata.uid,
    'io.kubernetes.cri.container-name': container.config.metadata.name,
    'io.kubernetes.cri.image-name': container.config.image.image,
  };
}

/** The process of an exec: like the container's own, with another command line. */
export function execProcess(
  config: RuntimeConfig,
  command: readonly string[],
  terminal: boolean,
): RuntimeConfig['process'] {
  const env =
    terminal && !config.process.env.some((each) => each.startsWith('TERM='))
      ? [...config.process.env, 'TERM=xterm']
      : config.process.env;
  return { ...config.process, args: [...command], env, terminal };
}

/** What a container's config.json says. */
export async function readSpec(bundle: string): Promise<RuntimeConfig> {
  return parseRuntimeConfig(await readFile(`${bundle}/config.json`, 'utf8'));
}

/** The stop signal of a container: as asked, else the image's, else SIGTERM. */
export function stopSignalFor(config: ContainerConfig, image: ImageConfig): string {
  return config.stopSignal ?? image.config?.StopSignal ?? 'SIGTERM';
}
