import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { during, KeelsonError, messageOf } from '../../base/index.ts';
import { NodeStageVolumeRequest, NodeUnstageVolumeRequest } from '../../gen/csi/v1/csi.ts';
import { isAlive } from '../../linux/index.ts';
import { type Manifest, type Ref, refOf, type Stage, type Volume } from '../objects/index.ts';
import { saysNotFound } from '../protocol/index.ts';
import type { Driver } from '../registration/index.ts';
import { isMounted, mountsBelow, removeEmptyParents, removeMountPoint } from './mount-state.ts';
import { type NodeParts, nodeCapability } from './node-parts.ts';
import { stageName } from './paths.ts';
import { removeVolumeData, writeVolumeData } from './volume-data.ts';

type StageRef = Ref<'VolumeStage'>;

export interface Staging {
  readonly driver: Driver;
  readonly volume: Volume;
  readonly publishContext: Record<string, string>;
  readonly mountOptions: readonly string[] | undefined;
  readonly mountGroup: number | undefined;
  readonly signal: AbortSignal;
}

/**
 * Stages a volume unless it is staged already, and answers where; undefined where the driver
 * stages nothing. The caller holds the volume's lock.
 */
export async function stageVolume(parts: NodeParts, staging: Staging): Promise<string | undefined> {
  const { store } = parts;
  const { driver, volume } = staging;
  if (!driver.nodeCan('STAGE_UNSTAGE_VOLUME')) return undefined;
  const manifest = stageFor(parts, staging);
  const { stagingPath } = manifest.spec;
  const ref: StageRef = { kind: 'VolumeStage', name: manifest.metadata.name };
  const before = store.find(ref);
  if (before?.status.phase === 'Staged') return before.spec.stagingPath;
  if (before === undefined) {
    refuseForeignMount(stagingPath, volume.metadata.name);
    await store.create<'VolumeStage'>(manifest);
  } else {
    // An unstage, or an earlier stage, whose outcome is not known: staging it settles that.
    await store.change(ref, (current) => ({ ...current, status: { phase: 'Staging' } }));
  }
  const { driver: name, volumeHandle } = volume.spec.csi;
  await writeVolumeData(notesOf(parts, manifest), { driverName: name, volumeHandle });
  await mkdir(stagingPath, { recursive: true, mode: 0o750 });
  await callStage(parts, staging, stagingPath);
  await store.change(ref, (current) => ({ ...current, status: { phase: 'Staged' } }));
  return stagingPath;
}

function stageFor(
  { paths }: NodeParts,
  { volume, mountOptions }: Staging,
): Manifest<'VolumeStage'> {
  const { csi, volumeMode, accessModes } = volume.spec;
  const [accessMode = 'ReadWriteOnce'] = accessModes;
  const { name } = volume.metadata;
  return {
    apiVersion: 'storage.keelson/v1',
    kind: 'VolumeStage',
    metadata: { name: stageName(csi.driver, csi.volumeHandle) },
    spec: {
      driver: csi.driver,
      volumeHandle: csi.volumeHandle,
      volumeName: name,
      volumeMode,
      accessMode,
      fsType: csi.fsType,
      mountOptions: mountOptions === undefined ? undefined : [...mountOptions],
      stagingPath:
        volumeMode === 'Block'
          ? paths.stagedDevice(name)
          : paths.stagedFileSystem(csi.driver, csi.volumeHandle),
    },
    status: { phase: 'Staging' },
  };
}

/** No record says that it is ours: whatever it is, a volume mounted over it would hide it. */
function refuseForeignMount(path: string, volume: string): void {
  if (!isMounted(path)) return;
  throw new KeelsonError('FAILED_PRECONDITION', `Cannot stage volume "${volume}"`, {
    reason: `something that Keelson did not mount is mounted at "${path}"`,
    hint: 'unmount it',
  });
}

async function callStage({ secrets }: NodeParts, staging: Staging, path: string): Promise<void> {
  const { driver, volume, publishContext, mountOptions, mountGroup, signal } = staging;
  const { csi, volumeMode, accessModes } = volume.spec;
  const [accessMode = 'ReadWriteOnce'] = accessModes;
  const access = {
    volumeMode,
    accessMode,
    fsType: csi.fsType,
    mountOptions: [...(mountOptions ?? [])],
  };
  const request = NodeStageVolumeRequest.fromPartial({
    volumeId: csi.volumeHandle,
    publishContext,
    stagingTargetPath: path,
    volumeCapability: nodeCapability(driver, access, mountGroup),
    secrets: await secrets.read(csi.nodeStageSecretRef),
    volumeContext: csi.volumeAttributes ?? {},
  });
  await driver.client.node.nodeStageVolume(request, { signal });
}

/**
 * Takes a staged volume down once no pod has it, and forgets it. Fails while processes that
 * were on a mount taken off by force are still alive: they may still write. The caller holds
 * the volume's lock.
 */
export async function unstageVolume(
  parts: NodeParts,
  stage: Stage,
  signal: AbortSignal,
): Promise<void> {
  const { store, drivers, paths } = parts;
  const ref = refOf(stage) as StageRef;
  const { driver: name, volumeHandle, stagingPath } = stage.spec;
  const action = `Cannot unstage volume "${stage.spec.volumeName}"`;
  const holders = (stage.status.holders ?? []).filter(isAlive);
  if (holders.length > 0) {
    const who = holders.map(({ pid, command }) => `${pid} (${command})`).join(', ');
    throw new KeelsonError('FAILED_PRECONDITION', action, {
      reason: `process ${who} still uses it`,
    });
  }
  await store.change(ref, (current) => ({
    ...current,
    status: { ...current.status, phase: 'Unstaging' },
  }));
  const driver = drivers.get(name);
  const request = { volumeId: volumeHandle, stagingTargetPath: stagingPath };
  try {
    await driver.client.node.nodeUnstageVolume(NodeUnstageVolumeRequest.fromPartial(request), {
      signal,
    });
  } catch (error) {
    // A volume that the driver has lost or deleted is not staged; what is mounted decides.
    if (!saysNotFound(error)) throw error;
  }
  const left = mountsBelow(stagingPath);
  if (left.length > 0) {
    throw new KeelsonError('FAILED_PRECONDITION', action, {
      reason: `the driver says that it is done, but "${left[0]}" is still mounted`,
    });
  }
  try {
    const notes = notesOf(parts, stage);
    await removeVolumeData(notes);
    await removeEmptyParents(dirname(notes), paths.plugins);
    await removeMountPoint(stagingPath, paths.plugins);
  } catch (error) {
    throw during(`${action}: ${messageOf(error)}`, error);
  }
  await store.delete(ref);
}

/** The path beside which it is noted what is staged. */
function notesOf({ paths }: NodeParts, { spec }: Pick<Stage, 'spec'>): string {
  return spec.volumeMode === 'Block' ? paths.dataOfDevice(spec.volumeName) : spec.stagingPath;
}
