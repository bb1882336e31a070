import {
  bytesOf,
  type Claim,
  type Snapshot,
  type SnapshotContent,
  type StorageClass,
  type Volume,
} from '../objects/index.ts';
import { classParameters, requirementFor, templateValues } from '../requests/index.ts';
import { ANNOTATION } from './annotations.ts';
import { annotationOf, isDeleting } from './editing.ts';
import { type ProvisioningIntent, volumeNameFor } from './provisioning-intent.ts';

/** What the provisioner sees of a driver. */
export interface ProvisioningDriver {
  readonly canCreate: boolean;
  readonly canClone: boolean;
  readonly canRestore: boolean;
  /** Segments of this node where topology matters to the driver. */
  readonly topology: Readonly<Record<string, string>> | undefined;
}

export interface ProvisioningView {
  readonly driver: ProvisioningDriver | undefined;
  readonly storageClass: StorageClass | undefined;
  /** Adds the names of claim and volume to what the driver is told. */
  readonly extraMetadata: boolean;
  claim(name: string): { claim: Claim; volume: Volume | undefined } | undefined;
  snapshot(name: string): { snapshot: Snapshot; content: SnapshotContent | undefined } | undefined;
}

export type ProvisioningPlan =
  | { readonly do: 'nothing' }
  | { readonly do: 'wait'; readonly reason: string; readonly message: string }
  | { readonly do: 'intend'; readonly intent: ProvisioningIntent };

const FAILED = 'ProvisioningFailed';

/** What CreateVolume would have to be asked for a claim without a volume. Pure. */
export function planProvisioning(claim: Claim, view: ProvisioningView): ProvisioningPlan {
  const name = annotationOf(claim, ANNOTATION.provisioner);
  if (name === undefined || claim.spec.volumeName !== undefined || isDeleting(claim)) {
    return { do: 'nothing' };
  }
  const { driver, storageClass } = view;
  if (storageClass === undefined || storageClass.provisioner !== name) {
    return waitFor(`there is no StorageClass of driver "${name}" for it`);
  }
  if (driver === undefined) return waitFor(`driver "${name}" is not registered`);
  if (!driver.canCreate) return waitFor(`driver "${name}" cannot create volumes`);
  const source = sourceOf(claim, name, view);
  if (typeof source === 'string') return waitFor(source);
  const topology = driver.topology;
  if (
    topology !== undefined &&
    requirementFor(topology, storageClass.allowedTopologies) === undefined
  ) {
    return waitFor(`class "${storageClass.metadata.name}" allows no volumes on this node`);
  }
  return {
    do: 'intend',
    intent: {
      ...requestOf(claim, storageClass, view),
      ...source,
      ...(topology === undefined ? {} : { topology }),
    },
  };
}

function waitFor(message: string): ProvisioningPlan {
  return { do: 'wait', reason: FAILED, message };
}

function requestOf(
  claim: Claim,
  storageClass: StorageClass,
  view: ProvisioningView,
): ProvisioningIntent {
  const { spec, metadata } = claim;
  const volumeName = volumeNameFor(claim);
  const { driver, fsType, secrets } = classParameters(
    storageClass.parameters,
    templateValues(volumeName, metadata),
  );
  const extra = {
    'csi.storage.k8s.io/pvc/name': metadata.name,
    'csi.storage.k8s.io/pvc/namespace': metadata.namespace,
    'csi.storage.k8s.io/pv/name': volumeName,
  };
  const limit = spec.resources.limits?.storage;
  return {
    driver: storageClass.provisioner,
    storageClass: storageClass.metadata.name,
    reclaimPolicy: storageClass.reclaimPolicy,
    parameters: view.extraMetadata ? { ...driver, ...extra } : driver,
    requiredBytes: bytesOf(spec.resources.requests.storage),
    limitBytes: limit === undefined ? 0 : bytesOf(limit),
    volumeMode: spec.volumeMode,
    accessModes: [...spec.accessModes],
    ...(fsType === undefined || spec.volumeMode === 'Block' ? {} : { fsType }),
    ...(storageClass.mountOptions === undefined
      ? {}
      : { mountOptions: [...storageClass.mountOptions] }),
    secrets,
  };
}

type Source = Pick<ProvisioningIntent, 'source'>;

/** The content that the volume begins with; text says why it cannot be had. */
function sourceOf(claim: Claim, driver: string, view: ProvisioningView): Source | string {
  const wanted = claim.spec.dataSourceRef ?? claim.spec.dataSource;
  if (wanted === undefined) return {};
  return wanted.kind === 'VolumeSnapshot'
    ? snapshotSource(claim, wanted.name, driver, view)
    : cloneSource(claim, wanted.name, driver, view);
}

function snapshotSource(
  claim: Claim,
  name: string,
  driver: string,
  view: ProvisioningView,
): Source | string {
  const found = view.snapshot(name);
  const what = `VolumeSnapshot "${name}"`;
  if (found === undefined) return `there is no ${what}`;
  const { snapshot, content } = found;
  const id = content?.status?.snapshotHandle;
  if (isDeleting(snapshot)) return `${what} is being deleted`;
  if (snapshot.status?.readyToUse !== true || content === undefined || id === undefined) {
    return `${what} is not ready`;
  }
  if (content.spec.volumeSnapshotRef.uid !== snapshot.metadata.uid) {
    return `the content of ${what} belongs to another snapshot`;
  }
  if (content.spec.driver !== driver) return `${what} is one of driver "${content.spec.driver}"`;
  if (view.driver?.canRestore !== true) return `driver "${driver}" cannot restore snapshots`;
  const size = content.status?.restoreSize ?? 0;
  if (size > bytesOf(claim.spec.resources.requests.storage)) {
    return `${what} needs ${size} bytes`;
  }
  const mode = content.spec.sourceVolumeMode;
  if (mode !== undefined && mode !== claim.spec.volumeMode) {
    return `${what} is one of a volume of mode ${mode}`;
  }
  return { source: { snapshotId: id } };
}

function cloneSource(
  claim: Claim,
  name: string,
  driver: string,
  view: ProvisioningView,
): Source | string {
  const found = view.claim(name);
  const what = `PersistentVolumeClaim "${name}"`;
  if (found === undefined) return `there is no ${what}`;
  const { volume } = found;
  if (isDeleting(found.claim)) return `${what} is being deleted`;
  if (found.claim.status?.phase !== 'Bound' || volume === undefined) return `${what} is not bound`;
  if (volume.spec.csi.driver !== driver)
    return `${what} is one of driver "${volume.spec.csi.driver}"`;
  if (view.driver?.canClone !== true) return `driver "${driver}" cannot clone volumes`;
  if (volume.spec.volumeMode !== claim.spec.volumeMode) {
    return `${what} has mode ${volume.spec.volumeMode}`;
  }
  if (bytesOf(volume.spec.capacity.storage) > bytesOf(claim.spec.resources.requests.storage)) {
    return `${what} has ${volume.spec.capacity.storage}, which is more than is asked for`;
  }
  return { source: { volumeId: volume.spec.csi.volumeHandle } };
}
