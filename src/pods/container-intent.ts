import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { KeelsonError, newId } from '../base/index.ts';
import { signalNumber } from '../linux/index.ts';
import type { ImageRecord } from '../oci/images/index.ts';
import { cgroupsPathOf } from './cgroup-paths.ts';
import type { ContainerConfig } from './config.ts';
import { stopSignalFor } from './container-spec.ts';
import type { Pods } from './pods.ts';
import { type ContainerRecord, now, type SandboxRecord } from './records.ts';

/** Whoever lets a pod be privileged decides so when the pod is made. */
export function refusePrivilege(sandbox: SandboxRecord, { security }: ContainerConfig): void {
  if (!security.privileged || sandbox.config.privileged) return;
  throw new KeelsonError('INVALID_ARGUMENT', 'Cannot give a container all privileges', {
    reason: `pod sandbox "${sandbox.id}" is not privileged`,
  });
}

/** All containers of a pod have its ids, whatever their process does with them. */
export function refuseOtherIds(sandbox: SandboxRecord, { security }: ContainerConfig): void {
  if (isDeepStrictEqual(security.namespaces.user, sandbox.config.namespaces.user)) return;
  throw new KeelsonError('INVALID_ARGUMENT', 'Cannot use the user namespace asked for', {
    reason: `it is not that of pod sandbox "${sandbox.id}"`,
  });
}

/** Classes of resources that other runtimes read from annotations, of a pod or a container. */
const CLASSES = { blockio: 'block I/O', rdt: 'Intel RDT' };

/** No classes are configured on this node: one that is asked for cannot be had. */
export function refuseClasses(sandbox: SandboxRecord, config: ContainerConfig): void {
  const pod = sandbox.config.annotations;
  for (const [kind, title] of Object.entries(CLASSES)) {
    const prefix = `${kind}.resources.beta.kubernetes.io`;
    const name =
      config.annotations[`io.kubernetes.cri.${kind}-class`] ??
      pod[`${prefix}/container.${config.metadata.name}`] ??
      pod[`${prefix}/pod`] ??
      '';
    if (name === '') continue;
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot use ${title} class "${name}"`, {
      reason: 'Keelson has no classes of resources',
    });
  }
}

export async function findImage(pods: Pods, name: string): Promise<ImageRecord> {
  const image = name === '' ? undefined : await pods.images.find(name);
  if (image?.kind === 'artifact') {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot run image "${name}"`, {
      reason: 'it is an artifact: files, which a container can mount',
    });
  }
  if (image !== undefined) return image;
  throw new KeelsonError('NOT_FOUND', `There is no image "${name}" on this node`, {
    hint: 'pull it first',
  });
}

export function intentOf(
  pods: Pods,
  given: {
    sandbox: SandboxRecord;
    config: ContainerConfig;
    image: ImageRecord;
    volumes: readonly ImageRecord[];
  },
): ContainerRecord {
  const { sandbox, config, image, volumes } = given;
  const id = newId();
  const stopSignal = stopSignalFor(config, image.config);
  signalNumber(stopSignal); // Fails now rather than when the container shall stop.
  return {
    id,
    sandboxId: sandbox.id,
    config,
    handler: sandbox.handler,
    createdAt: now(),
    state: { phase: 'creating' },
    imageId: image.id,
    imageRef: image.repoDigests[0] ?? image.id,
    layers: [image, ...volumes].flatMap(({ layers }) => layers.map((layer) => layer.id)),
    logPath: logPathOf(sandbox, config),
    user: { uid: 0, gid: 0, supplementalGroups: [] },
    stopSignal,
    cgroupsPath: cgroupsPathOf(pods.settings.cgroupDriver, sandbox.cgroupParent, id),
  };
}

function logPathOf(sandbox: SandboxRecord, config: ContainerConfig): string | undefined {
  const { logDirectory } = sandbox.config;
  return logDirectory === '' || config.logPath === ''
    ? undefined
    : join(logDirectory, config.logPath);
}
