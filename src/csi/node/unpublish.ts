import { unlink } from 'node:fs/promises';
import { ifExists, KeelsonError, messageOf } from '../../base/index.ts';
import { NodeUnpublishVolumeRequest } from '../../gen/csi/v1/csi.ts';
import { type MountHolder, mountHolders, unmountAll } from '../../linux/index.ts';
import { type Publication, type Ref, refOf, type Stored } from '../objects/index.ts';
import { saysNotFound } from '../protocol/index.ts';
import { mountsBelow, removeEmptyParents, removeMountPoint } from './mount-state.ts';
import type { NodeParts } from './node-parts.ts';
import { stageName } from './paths.ts';
import { removeVolumeData } from './volume-data.ts';

/**
 * Takes a volume from a pod and forgets the publication. A mount that is busy is reported
 * with its holders, and with `force` taken off all the same; the volume stays staged then
 * until they have ended. The caller holds the volume's lock.
 */
export async function unpublishVolume(
  parts: NodeParts,
  publication: Publication,
  { force, signal }: { force: boolean; signal: AbortSignal },
): Promise<void> {
  const { store, paths } = parts;
  const { targetPath, volumeMode, pod, volumeName } = publication.spec;
  try {
    await callUnpublish(parts, publication, signal);
  } catch (error) {
    if (mountsBelow(targetPath).length === 0) throw error;
    const holders = await mountHolders(targetPath);
    if (!force) throw busy(publication, holders, error);
    await takeOff(parts, publication, holders);
    await callUnpublish(parts, publication, signal);
  }
  if (mountsBelow(targetPath).length > 0) {
    const holders = await mountHolders(targetPath);
    const lie = new KeelsonError('FAILED_PRECONDITION', 'NodeUnpublishVolume', {
      reason: 'the driver says that it is done, but the mount is still there',
    });
    if (!force) throw busy(publication, holders, lie);
    await takeOff(parts, publication, holders);
  }
  if (volumeMode === 'Block') {
    const link = paths.deviceOfPod(pod.uid, volumeName);
    await ifExists(unlink(link));
    await removeEmptyParents(dirnameOf(link), paths.pods);
    await removeMountPoint(targetPath, paths.plugins);
  } else {
    await removeVolumeData(targetPath);
    await removeMountPoint(targetPath, paths.pods);
  }
  await store.delete(refOf(publication as Stored));
}

function dirnameOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

async function callUnpublish(
  { drivers }: NodeParts,
  { spec }: Publication,
  signal: AbortSignal,
): Promise<void> {
  const driver = drivers.get(spec.driver);
  const request = { volumeId: spec.volumeHandle, targetPath: spec.targetPath };
  try {
    await driver.client.node.nodeUnpublishVolume(NodeUnpublishVolumeRequest.fromPartial(request), {
      signal,
    });
  } catch (error) {
    // Asked again for want of an answer, of an inline volume that went with its publication.
    if (saysNotFound(error) && mountsBelow(spec.targetPath).length === 0) return;
    throw error;
  }
}

/** The mount vanishes for everyone new; who is on it goes on until the end. */
async function takeOff(
  { store, logger, events }: NodeParts,
  publication: Publication,
  holders: readonly MountHolder[],
): Promise<void> {
  const { driver, volumeHandle, targetPath, volumeName } = publication.spec;
  const ref: Ref<'VolumeStage'> = {
    kind: 'VolumeStage',
    name: stageName(driver, volumeHandle),
  };
  // Noted first: after a crash in between, the volume must not be unstaged under them.
  await store.changeIfThere(ref, (current) => ({
    ...current,
    status: {
      ...current.status,
      holders: holders.map(({ pid, startTime, command }) => ({ pid, startTime, command })),
    },
  }));
  for (const path of mountsBelow(targetPath)) unmountAll(path);
  const message = `mount of volume "${volumeName}" was busy and is taken off by force; ${describe(holders)}`;
  logger.warn({ volume: volumeName, path: targetPath, holders }, message);
  events.add({ kind: 'PersistentVolume', name: volumeName }, 'Warning', 'ForcedUnmount', message);
}

function busy(
  { spec }: Publication,
  holders: readonly MountHolder[],
  cause: unknown,
): KeelsonError {
  return new KeelsonError('FAILED_PRECONDITION', `Cannot unmount volume "${spec.volumeName}"`, {
    reason: `${describe(holders)}; ${messageOf(cause)}`,
    cause,
  });
}

function describe(holders: readonly MountHolder[]): string {
  if (holders.length === 0) return 'no process of this mount namespace holds it';
  const some = holders
    .slice(0, 5)
    .map(({ pid, command, by, path }) => `${pid} (${command}: ${by} ${path})`);
  return `held by process ${some.join(', ')}`;
}
