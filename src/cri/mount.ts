import { KeelsonError } from '../base/index.ts';
import { type Mount, MountPropagation } from '../gen/runtime/v1/api.ts';
import type { MountConfig } from '../pods/index.ts';
import { fromImageReference, toImageReference } from './image-spec.ts';
import { invalid, noNul, required } from './invalid.ts';
import { toIdRange } from './namespace-modes.ts';

const FIELD = 'config.mounts';

const PROPAGATION = new Map<number, MountConfig['propagation']>([
  [MountPropagation.PROPAGATION_PRIVATE, 'private'],
  [MountPropagation.PROPAGATION_HOST_TO_CONTAINER, 'host-to-container'],
  [MountPropagation.PROPAGATION_BIDIRECTIONAL, 'bidirectional'],
]);

/** What `mount_options` may hold. */
const MOUNT_OPTIONS = new Set(['noexec', 'nodev', 'nosuid']);

/** Checks a Mount and puts it into plain values. */
export function toMount(mount: Mount): MountConfig {
  const path = noNul(FIELD, required(`${FIELD}.container_path`, mount.containerPath));
  const propagation = PROPAGATION.get(mount.propagation);
  if (propagation === undefined) {
    throw invalid(FIELD, `there is no propagation ${mount.propagation}`);
  }
  const unknown = mount.mountOptions.find((option) => !MOUNT_OPTIONS.has(option));
  if (unknown !== undefined) throw invalid(FIELD, `"${unknown}" is not a mount option`);
  return {
    containerPath: path,
    ...toSource(mount),
    readonly: mount.readonly,
    recursiveReadOnly: mount.recursiveReadOnly,
    propagation,
    uidMappings: mount.uidMappings.map((each) => toIdRange(`${FIELD}.uidMappings`, each)),
    gidMappings: mount.gidMappings.map((each) => toIdRange(`${FIELD}.gidMappings`, each)),
    selinuxRelabel: mount.selinuxRelabel,
    options: mount.mountOptions,
  };
}

/** A path of the host, or an image. */
function toSource(mount: Mount): Pick<MountConfig, 'hostPath' | 'image' | 'imageSubPath'> {
  const { image, imageSubPath, containerPath } = mount;
  if (image === undefined || image.image === '') {
    if (imageSubPath !== '') {
      throw invalid(FIELD, `image_sub_path ("${containerPath}") needs an image`);
    }
    const hostPath = noNul(FIELD, required(`${FIELD}.host_path`, mount.hostPath));
    if (!hostPath.startsWith('/')) throw invalid(FIELD, `"${hostPath}" is not an absolute path`);
    return { hostPath, image: undefined, imageSubPath: '' };
  }
  const refuse = (reason: string) =>
    // Kubelets know this failure by the first word of the message.
    new KeelsonError(
      'INVALID_ARGUMENT',
      `ImageVolumeMountFailed: Cannot mount image "${image.image}"`,
      { reason },
    );
  if (mount.hostPath !== '') throw refuse(`host_path "${mount.hostPath}" is given too`);
  if (!mount.readonly) throw refuse('image volumes are read-only, and readonly is not set');
  if (mount.propagation !== MountPropagation.PROPAGATION_PRIVATE) {
    throw refuse('image volumes need PRIVATE propagation');
  }
  return {
    hostPath: '',
    image: toImageReference(`${FIELD}.image`, image),
    imageSubPath: noNul(`${FIELD}.image_sub_path`, imageSubPath),
  };
}

export function fromMount(mount: MountConfig): Mount {
  const propagation = [...PROPAGATION].find(([, name]) => name === mount.propagation)?.[0] ?? 0;
  return {
    containerPath: mount.containerPath,
    hostPath: mount.hostPath,
    readonly: mount.readonly,
    selinuxRelabel: mount.selinuxRelabel,
    propagation: propagation as MountPropagation,
    uidMappings: mount.uidMappings,
    gidMappings: mount.gidMappings,
    recursiveReadOnly: mount.recursiveReadOnly,
    image: mount.image === undefined ? undefined : fromImageReference(mount.image),
    imageSubPath: mount.imageSubPath,
    mountOptions: mount.options,
  };
}
