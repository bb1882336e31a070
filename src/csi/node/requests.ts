import { existsSync } from 'node:fs';
import { KeelsonError } from '../../base/index.ts';
import { ANNOTATION, annotationOf, isDeleting } from '../controllers/index.ts';
import type { Claim, Manifest, Publication, SecretReference, Volume } from '../objects/index.ts';
import { reachableFrom } from '../objects/index.ts';
import { type NodeParts, policyOf } from './node-parts.ts';
import { inlineHandle, publicationName } from './paths.ts';

export interface PodIdentity {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** What a pod wants of one volume. */
export interface VolumeUse {
  readonly pod: PodIdentity;
  readonly readOnly: boolean;
  readonly fsGroup?: number | undefined;
  readonly fsGroupChangePolicy?: 'Always' | 'OnRootMismatch' | undefined;
  /** The SELinux context of the pod, for drivers that mount with it. */
  readonly seLinuxContext?: string | undefined;
}

/** A volume that a pod brings itself. */
export interface InlineUse extends VolumeUse {
  readonly volumeName: string;
  readonly driver: string;
  readonly fsType?: string | undefined;
  readonly volumeAttributes?: Readonly<Record<string, string>> | undefined;
  readonly nodePublishSecretRef?: SecretReference | undefined;
}

type Record_ = Manifest<'VolumePublication'>;

/** The record of a bound claim in a pod; fails when the rules do not allow it. */
export function claimPublication(
  parts: NodeParts,
  { claim, volume }: { claim: Claim; volume: Volume },
  use: VolumeUse,
): Record_ {
  const { csi, volumeMode, accessModes, mountOptions } = volume.spec;
  const { name } = volume.metadata;
  const [accessMode = 'ReadWriteOnce'] = accessModes;
  const action = `Cannot use claim "${claim.metadata.namespace}/${claim.metadata.name}"`;
  checkAllowed(parts, volume, use, action);
  const readOnly = use.readOnly || csi.readOnly === true;
  const context = seLinuxOption(parts, csi.driver, accessMode, use);
  const options = [...(mountOptions ?? []), ...context];
  const { name: claimName, namespace } = claim.metadata;
  return record(parts, use, {
    driver: csi.driver,
    volumeHandle: csi.volumeHandle,
    volumeName: name,
    volumeMode,
    accessMode,
    fsType: csi.fsType,
    mountOptions: options.length === 0 ? undefined : options,
    claim: { name: claimName, namespace },
    readOnly,
  });
}

/** The record of a volume that the pod brings: its driver makes and destroys it with the pod. */
export function inlinePublication(parts: NodeParts, use: InlineUse): Record_ {
  const { driver, volumeName, fsType, volumeAttributes, nodePublishSecretRef, readOnly } = use;
  if (!policyOf(parts, driver).volumeLifecycleModes.includes('Ephemeral')) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot use volume "${volumeName}"`, {
      reason: `no CSIDriver "${driver}" says that the driver has ephemeral volumes`,
      hint: 'its volumeLifecycleModes must name Ephemeral',
    });
  }
  return record(parts, use, {
    driver,
    volumeHandle: inlineHandle(use.pod.uid, volumeName),
    volumeName,
    volumeMode: 'Filesystem',
    accessMode: 'ReadWriteOnce',
    fsType,
    readOnly,
    volumeAttributes: volumeAttributes === undefined ? undefined : { ...volumeAttributes },
    nodePublishSecretRef,
  });
}

function record(
  { paths }: NodeParts,
  use: VolumeUse,
  spec: Omit<Record_['spec'], 'pod' | 'targetPath'>,
): Record_ {
  const { uid } = use.pod;
  const { volumeName } = spec;
  return {
    apiVersion: 'storage.keelson/v1',
    kind: 'VolumePublication',
    metadata: { name: publicationName(uid, volumeName) },
    spec: {
      ...spec,
      pod: { ...use.pod },
      fsGroup: use.fsGroup,
      fsGroupChangePolicy: use.fsGroupChangePolicy,
      seLinuxContext: use.seLinuxContext,
      targetPath:
        spec.volumeMode === 'Block'
          ? paths.publishedDevice(uid, volumeName)
          : paths.publishedFileSystem(uid, volumeName),
    },
    status: { phase: 'Preparing' },
  };
}

function checkAllowed(parts: NodeParts, volume: Volume, use: VolumeUse, action: string): void {
  const refuse = (reason: string, hint?: string): never => {
    throw new KeelsonError('FAILED_PRECONDITION', action, {
      reason,
      ...(hint === undefined ? {} : { hint }),
    });
  };
  const { csi, nodeAffinity, accessModes } = volume.spec;
  if (!policyOf(parts, csi.driver).volumeLifecycleModes.includes('Persistent')) {
    refuse(`CSIDriver "${csi.driver}" has ephemeral volumes only`);
  }
  if (!reachableFrom(nodeAffinity, parts.node())) {
    refuse(`volume "${volume.metadata.name}" cannot be reached from this node`);
  }
  const others = publicationsOf(parts, volume).filter(({ spec }) => spec.pod.uid !== use.pod.uid);
  const [other] = others;
  if (accessModes.includes('ReadWriteOncePod') && other !== undefined) {
    refuse(`it is for one pod only, and pod "${other.spec.pod.name}" has it`, 'remove that pod');
  }
}

function publicationsOf({ store }: NodeParts, volume: Volume): Publication[] {
  const { driver, volumeHandle } = volume.spec.csi;
  return store
    .list('VolumePublication')
    .filter(({ spec }) => spec.driver === driver && spec.volumeHandle === volumeHandle);
}

/** With SELinux, volumes for one pod can be labelled by their mount instead of file by file. */
function seLinuxOption(
  parts: NodeParts,
  driver: string,
  accessMode: string,
  { seLinuxContext }: VolumeUse,
): string[] {
  if (seLinuxContext === undefined || accessMode !== 'ReadWriteOncePod') return [];
  if (!policyOf(parts, driver).seLinuxMount || !existsSync('/sys/fs/selinux/enforce')) return [];
  return [`context="${seLinuxContext}"`];
}

/** Fails when the driver has as many volumes on this node as it can have. */
export function checkLimit({ store, drivers }: NodeParts, wanted: Record_): void {
  const { driver, volumeHandle } = wanted.spec;
  const limit = Number(drivers.get(driver).node.maxVolumes);
  if (limit === 0) return;
  const handles = new Set(
    [...store.list('VolumePublication'), ...store.list('VolumeStage')]
      .filter(({ spec }) => spec.driver === driver)
      .map(({ spec }) => spec.volumeHandle),
  );
  if (handles.has(volumeHandle) || handles.size < limit) return;
  throw new KeelsonError('RESOURCE_EXHAUSTED', `Cannot use volume "${wanted.spec.volumeName}"`, {
    reason: `driver "${driver}" can have ${limit} volumes on this node, and has them`,
  });
}

/** The volume of a claim that is ready to be used; undefined while it has none. */
export function boundVolume({ store }: NodeParts, claim: Claim): Volume | undefined {
  const name = claim.spec.volumeName;
  if (isDeleting(claim)) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot use claim "${claim.metadata.name}"`, {
      reason: 'it is being deleted',
    });
  }
  if (claim.status?.phase !== 'Bound' || name === undefined) return undefined;
  return store.find({ kind: 'PersistentVolume', name });
}

/** Whether a pod has asked for the claim before: what waits for its first consumer may go on. */
export function hasConsumer(claim: Claim): boolean {
  return annotationOf(claim, ANNOTATION.selectedNode) !== undefined;
}
