import type { DriverControllerParts } from '../controllers/index.ts';
import type { AccessMode, CsiDriver, Publication, Stage } from '../objects/index.ts';
import type { Driver } from '../registration/index.ts';
import { capabilityOf } from '../requests/index.ts';
import type { NodePaths } from './paths.ts';

/** What the node side works with. */
export interface NodeParts extends DriverControllerParts {
  readonly paths: NodePaths;
  /** Milliseconds that attaching a volume may take. */
  readonly attachTimeout: number;
  /** Milliseconds that a mount may be busy before it is taken off by force. */
  readonly busyTimeout: number;
}

/** What the administrator, or the default, says of a driver (CSIDriver). */
export interface DriverPolicy {
  readonly attachRequired: boolean;
  readonly podInfoOnMount: boolean;
  readonly fsGroupPolicy: 'ReadWriteOnceWithFSType' | 'File' | 'None';
  readonly seLinuxMount: boolean;
  readonly volumeLifecycleModes: readonly ('Persistent' | 'Ephemeral')[];
}

/** What holds for drivers that no CSIDriver object describes, as in Kubernetes. */
const DEFAULT_POLICY: DriverPolicy = {
  attachRequired: true,
  podInfoOnMount: false,
  fsGroupPolicy: 'ReadWriteOnceWithFSType',
  seLinuxMount: false,
  volumeLifecycleModes: ['Persistent'],
};

export function policyOf({ store }: Pick<NodeParts, 'store'>, driver: string): DriverPolicy {
  const found: CsiDriver | undefined = store.find({ kind: 'CSIDriver', name: driver });
  return found?.spec ?? DEFAULT_POLICY;
}

type Accessed = Pick<(Stage | Publication)['spec'], 'volumeMode' | 'fsType' | 'mountOptions'> & {
  readonly accessMode: AccessMode;
};

/** The same capability for each call of the Node service about a volume. */
export function nodeCapability(driver: Driver, access: Accessed, mountGroup?: number) {
  return capabilityOf(access, {
    singleNodeModes: driver.nodeCan('SINGLE_NODE_MULTI_WRITER'),
    ...(mountGroup !== undefined && driver.nodeCan('VOLUME_MOUNT_GROUP') ? { mountGroup } : {}),
  });
}
