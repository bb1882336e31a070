import { mkdir, symlink, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ifExists } from '../../base/index.ts';
import { NodePublishVolumeRequest } from '../../gen/csi/v1/csi.ts';
import { setGroupAside } from '../../linux/index.ts';
import type { Publication, Volume } from '../objects/index.ts';
import type { Driver } from '../registration/index.ts';
import { checkPublished } from './mount-state.ts';
import { type NodeParts, nodeCapability, policyOf } from './node-parts.ts';
import { writeVolumeData } from './volume-data.ts';

export interface Publishing {
  readonly driver: Driver;
  readonly publication: Publication;
  /** Undefined for volumes that the pod brings itself. */
  readonly volume: Volume | undefined;
  readonly publishContext: Record<string, string>;
  readonly stagingPath: string | undefined;
  readonly signal: AbortSignal;
}

/** Publishes a volume to one pod. The caller holds the volume's lock. */
export async function publishVolume(parts: NodeParts, publishing: Publishing): Promise<void> {
  const { driver, publication, volume, signal } = publishing;
  const { spec } = publication;
  await mkdir(dirname(spec.targetPath), { recursive: true, mode: 0o750 });
  if (spec.volumeMode === 'Filesystem') {
    await writeVolumeData(spec.targetPath, {
      driverName: spec.driver,
      volumeHandle: spec.volumeHandle,
      specVolID: spec.volumeName,
      nodeName: parts.node().name,
      volumeLifecycleMode: volume === undefined ? 'Ephemeral' : 'Persistent',
    });
  }
  const request = await requestOf(parts, publishing);
  await driver.client.node.nodePublishVolume(request, { signal });
  await checkPublished(spec.targetPath, spec.volumeMode);
  if (spec.volumeMode === 'Block') await linkDevice(parts, publication);
  else await giveToGroup(parts, publishing);
}

async function requestOf(
  parts: NodeParts,
  { driver, publication, volume, publishContext, stagingPath }: Publishing,
): Promise<NodePublishVolumeRequest> {
  const { spec } = publication;
  const csi = volume?.spec.csi;
  const secret = csi?.nodePublishSecretRef ?? spec.nodePublishSecretRef;
  const attributes = csi?.volumeAttributes ?? spec.volumeAttributes ?? {};
  return NodePublishVolumeRequest.fromPartial({
    volumeId: spec.volumeHandle,
    publishContext,
    stagingTargetPath: stagingPath ?? '',
    targetPath: spec.targetPath,
    volumeCapability: nodeCapability(driver, spec, spec.fsGroup),
    readonly: spec.readOnly,
    secrets: await parts.secrets.read(secret),
    volumeContext: { ...attributes, ...podInfo(parts, publication, volume === undefined) },
  });
}

/** What a driver learns of the pod when its CSIDriver asks for it. */
function podInfo(
  parts: NodeParts,
  { spec }: Publication,
  ephemeral: boolean,
): Record<string, string> {
  if (!policyOf(parts, spec.driver).podInfoOnMount) return {};
  return {
    'csi.storage.k8s.io/pod.name': spec.pod.name,
    'csi.storage.k8s.io/pod.namespace': spec.pod.namespace,
    'csi.storage.k8s.io/pod.uid': spec.pod.uid,
    'csi.storage.k8s.io/serviceAccount.name': spec.pod.serviceAccount,
    'csi.storage.k8s.io/ephemeral': String(ephemeral),
  };
}

async function linkDevice({ paths }: NodeParts, { spec }: Publication): Promise<void> {
  const link = paths.deviceOfPod(spec.pod.uid, spec.volumeName);
  await mkdir(dirname(link), { recursive: true, mode: 0o750 });
  await ifExists(unlink(link));
  await symlink(spec.targetPath, link);
}

/** fsGroup, unless the driver has seen to it or its policy says no. */
async function giveToGroup(parts: NodeParts, publishing: Publishing): Promise<void> {
  const { driver, publication, volume, signal } = publishing;
  const { spec } = publication;
  if (spec.fsGroup === undefined || spec.readOnly || driver.nodeCan('VOLUME_MOUNT_GROUP')) return;
  const { fsGroupPolicy } = policyOf(parts, spec.driver);
  const single = spec.accessMode === 'ReadWriteOnce' || spec.accessMode === 'ReadWriteOncePod';
  const typed = (volume?.spec.csi.fsType ?? spec.fsType ?? '') !== '';
  const wanted = fsGroupPolicy === 'File' || (fsGroupPolicy !== 'None' && single && typed);
  if (!wanted) return;
  const request = {
    root: spec.targetPath,
    gid: spec.fsGroup,
    readOnly: false,
    onlyOnMismatch: spec.fsGroupChangePolicy === 'OnRootMismatch',
  };
  await setGroupAside(request, signal);
}
