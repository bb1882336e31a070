import { VolumeCapability, VolumeCapability_AccessMode_Mode } from '../../gen/csi/v1/csi.ts';
import type { AccessMode } from '../objects/index.ts';

/** What of a volume decides how it is accessed. */
export interface Access {
  readonly volumeMode: 'Filesystem' | 'Block';
  readonly accessMode: AccessMode;
  readonly fsType?: string | undefined;
  readonly mountOptions?: readonly string[] | undefined;
}

export interface CapabilityOptions {
  /** The driver knows SINGLE_NODE_SINGLE_WRITER and SINGLE_NODE_MULTI_WRITER. */
  readonly singleNodeModes: boolean;
  /** For drivers that give the volume to a group themselves (VOLUME_MOUNT_GROUP). */
  readonly mountGroup?: number | undefined;
}

/** The VolumeCapability of an access, with the modes that a kubelet chooses. */
export function capabilityOf(access: Access, options: CapabilityOptions): VolumeCapability {
  const mode = modeOf(access.accessMode, options.singleNodeModes);
  const { mountGroup } = options;
  return VolumeCapability.fromPartial({
    accessMode: { mode },
    accessType:
      access.volumeMode === 'Block'
        ? { $case: 'block', value: {} }
        : {
            $case: 'mount',
            value: {
              fsType: access.fsType ?? '',
              mountFlags: [...(access.mountOptions ?? [])],
              volumeMountGroup: mountGroup === undefined ? '' : String(mountGroup),
            },
          },
  });
}

function modeOf(mode: AccessMode, singleNodeModes: boolean): VolumeCapability_AccessMode_Mode {
  const modes = VolumeCapability_AccessMode_Mode;
  switch (mode) {
    case 'ReadWriteOnce':
      return singleNodeModes ? modes.SINGLE_NODE_MULTI_WRITER : modes.SINGLE_NODE_WRITER;
    case 'ReadWriteOncePod':
      return singleNodeModes ? modes.SINGLE_NODE_SINGLE_WRITER : modes.SINGLE_NODE_WRITER;
    case 'ReadOnlyMany':
      return modes.MULTI_NODE_READER_ONLY;
    case 'ReadWriteMany':
      return modes.MULTI_NODE_MULTI_WRITER;
  }
}
