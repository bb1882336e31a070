import { isAbsolute } from 'node:path';
import { KeelsonError } from '../../base/index.ts';
import {
  type CapacityRange,
  type CreateVolumeRequest,
  VolumeCapability_AccessMode_Mode as Mode,
  type NodePublishVolumeRequest,
  type VolumeCapability,
} from '../../gen/csi/v1/csi.ts';
import type { Offer } from './capabilities.ts';
import type { Features } from './driver.ts';
import { invalid } from './invalid.ts';
import { checkLimits } from './limits.ts';

/** Fields that the specification marks REQUIRED, in the order in which they are missed. */
const REQUIRED: Record<string, readonly string[]> = {
  CreateVolume: ['name', 'volumeCapabilities'],
  DeleteVolume: ['volumeId'],
  ControllerPublishVolume: ['volumeId', 'nodeId', 'volumeCapability'],
  ControllerUnpublishVolume: ['volumeId'],
  ValidateVolumeCapabilities: ['volumeId', 'volumeCapabilities'],
  ControllerGetVolume: ['volumeId'],
  ControllerModifyVolume: ['volumeId', 'mutableParameters'],
  ControllerExpandVolume: ['volumeId', 'capacityRange'],
  CreateSnapshot: ['sourceVolumeId', 'name'],
  DeleteSnapshot: ['snapshotId'],
  GetSnapshot: ['snapshotId'],
  CreateVolumeGroupSnapshot: ['name', 'sourceVolumeIds'],
  DeleteVolumeGroupSnapshot: ['groupSnapshotId'],
  GetVolumeGroupSnapshot: ['groupSnapshotId'],
  GetMetadataAllocated: ['snapshotId'],
  GetMetadataDelta: ['baseSnapshotId', 'targetSnapshotId'],
  NodeStageVolume: ['volumeId', 'stagingTargetPath', 'volumeCapability'],
  NodeUnstageVolume: ['volumeId', 'stagingTargetPath'],
  NodePublishVolume: ['volumeId', 'targetPath', 'volumeCapability'],
  NodeUnpublishVolume: ['volumeId', 'targetPath'],
  NodeGetVolumeStats: ['volumeId', 'volumePath'],
  NodeExpandVolume: ['volumeId', 'volumePath'],
};

/** Paths that a CO makes: others are only looked at, and not found when they are strange. */
const ABSOLUTE = ['stagingTargetPath', 'targetPath'] as const;

/** Set by kubelet on inline volumes of drivers whose CSIDriver object says podInfoOnMount. */
export const EPHEMERAL = 'csi.storage.k8s.io/ephemeral';

export interface Rules {
  readonly offer: Offer;
  readonly features: Features;
}

/** Fails with INVALID_ARGUMENT (mostly) when a request is not as the specification wants it. */
export function validate(rpc: string, request: object, rules: Rules): void {
  const fields = request as Record<string, unknown>;
  for (const name of REQUIRED[rpc] ?? []) {
    if (isEmpty(fields[name])) throw invalid(rpc, name, 'it is missing');
  }
  checkLimits(rpc, request);
  for (const name of ABSOLUTE) checkPath(rpc, name, fields[name]);
  const { volumeCapability, volumeCapabilities = [], capacityRange, maxEntries } = fields;
  const capabilities = [volumeCapability, volumeCapabilities].flat() as (
    | VolumeCapability
    | undefined
  )[];
  for (const capability of capabilities) {
    if (capability !== undefined) checkCapability(rpc, capability, rules);
  }
  checkCapacity(rpc, capacityRange as CapacityRange | undefined);
  if (typeof maxEntries === 'number' && maxEntries < 0) {
    throw invalid(rpc, 'maxEntries', 'it is negative');
  }
  if (rpc === 'CreateVolume') checkCreation(request as CreateVolumeRequest, rules);
  if (rpc === 'NodePublishVolume') checkStaging(request as NodePublishVolumeRequest, rules);
  if (rpc === 'ControllerPublishVolume' && fields['readonly'] && !rules.features.publishReadonly) {
    throw invalid(rpc, 'readonly', 'this driver does not offer PUBLISH_READONLY');
  }
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  return false;
}

function checkPath(rpc: string, field: string, path: unknown): void {
  if (typeof path !== 'string' || path === '') return;
  if (!isAbsolute(path)) throw invalid(rpc, field, `"${path}" is not an absolute path`);
  if (path.includes('\0') || path.split('/').includes('..')) {
    throw invalid(rpc, field, `${JSON.stringify(path)} leads elsewhere than it says`);
  }
}

const NEWER_MODES: readonly number[] = [
  Mode.SINGLE_NODE_SINGLE_WRITER,
  Mode.SINGLE_NODE_MULTI_WRITER,
];

function checkCapability(rpc: string, capability: VolumeCapability, { features }: Rules): void {
  const { accessType, accessMode } = capability;
  const wrong = (reason: string) => invalid(rpc, 'volumeCapability', reason);
  if (accessType === undefined) throw wrong('access_type is missing');
  const mode = accessMode?.mode ?? Mode.UNKNOWN;
  if (mode === Mode.UNKNOWN) throw wrong('access_mode is missing');
  if (!(Object.values(Mode) as number[]).includes(mode))
    throw wrong(`access mode ${mode} is unknown`);
  if (NEWER_MODES.includes(mode) && !features.singleNodeMultiWriter) {
    throw wrong('this driver does not offer SINGLE_NODE_MULTI_WRITER');
  }
  const group = accessType.$case === 'mount' ? accessType.value.volumeMountGroup : '';
  if (group !== '' && !features.volumeMountGroup) {
    throw wrong('this driver does not offer VOLUME_MOUNT_GROUP');
  }
}

function checkCapacity(rpc: string, range: CapacityRange | undefined): void {
  if (range === undefined) return;
  const { requiredBytes, limitBytes } = range;
  const wrong = (reason: string) => invalid(rpc, 'capacityRange', reason);
  if (requiredBytes < 0n || limitBytes < 0n) throw wrong('a size is negative');
  if (requiredBytes === 0n && limitBytes === 0n) throw wrong('neither size is given');
  if (limitBytes > 0n && requiredBytes > limitBytes) {
    throw wrong(`required_bytes ${requiredBytes} are more than limit_bytes ${limitBytes}`);
  }
}

function checkCreation(request: CreateVolumeRequest, { offer, features }: Rules): void {
  const wrong = (field: string, reason: string) => invalid('CreateVolume', field, reason);
  const source = request.volumeContentSource;
  if (source !== undefined) {
    const { type } = source;
    if (type === undefined) throw wrong('volumeContentSource', 'it names no source');
    const id = type.$case === 'snapshot' ? type.value.snapshotId : type.value.volumeId;
    if (id === '') throw wrong('volumeContentSource', 'it has no id');
    const offered =
      type.$case === 'snapshot'
        ? offer.controller.includes('CREATE_DELETE_SNAPSHOT')
        : features.cloneVolume === true;
    if (!offered)
      throw wrong('volumeContentSource', `this driver takes no ${type.$case} as source`);
  }
  if (request.accessibilityRequirements !== undefined && !features.topology) {
    throw wrong('accessibilityRequirements', 'this driver has no topology');
  }
  const { mutableParameters } = request;
  if (Object.keys(mutableParameters).length > 0 && !offer.controller.includes('MODIFY_VOLUME')) {
    throw wrong('mutableParameters', 'this driver does not offer MODIFY_VOLUME');
  }
}

function checkStaging(request: NodePublishVolumeRequest, { offer, features }: Rules): void {
  if (features.ephemeral && request.volumeContext[EPHEMERAL] === 'true') return;
  if (!offer.node.includes('STAGE_UNSTAGE_VOLUME') || request.stagingTargetPath !== '') return;
  throw new KeelsonError(
    'FAILED_PRECONDITION',
    'Invalid staging_target_path of NodePublishVolume',
    {
      reason: 'it is missing: volumes of this driver are staged first',
    },
  );
}
