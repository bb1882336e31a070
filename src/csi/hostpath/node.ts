import { lstat } from 'node:fs/promises';
import { faultPoint, ifExists, KeelsonError } from '../../base/index.ts';
import {
  VolumeCapability_AccessMode_Mode as Mode,
  type NodePublishVolumeRequest,
  type NodeStageVolumeRequest,
} from '../../gen/csi/v1/csi.ts';
import {
  addBindOptions,
  growFileSystem,
  loopsOf,
  refreshLoopSize,
  unmountUnlessBusy,
} from '../../linux/index.ts';
import type { NodeMethods } from '../kit/driver.ts';
import { checkPublishing, checkStaging, type Place, placeOf } from '../kit/places.ts';
import { mountAt, removeTarget } from '../kit/target.ts';
import { EPHEMERAL } from '../kit/validate.ts';
import type { HostPathContext } from './context.ts';
import { deleteVolume } from './controller.ts';
import { ephemeralVolume } from './ephemeral.ts';
import { makeTarget, publishVolume, releaseDevices, stageVolume } from './mount-volume.ts';
import { capabilityProblem } from './plan-volume.ts';
import type { VolumeRecord } from './records.ts';
import { topologyOf } from './topology.ts';
import { statsOf } from './volume-stats.ts';

/** The Node service of the host-path driver. */
export function nodeMethods(context: HostPathContext): NodeMethods {
  const { volumes } = context;
  return {
    nodeGetInfo: async () => ({
      nodeId: context.nodeId,
      accessibleTopology: topologyOf(context),
    }),
    nodeStageVolume: async (request) => {
      await stage(context, volumes.find(request.volumeId), request);
      return {};
    },
    nodeUnstageVolume: async ({ volumeId, stagingTargetPath }) => {
      const volume = volumes.get(volumeId);
      if (volume !== undefined) await unstage(context, volume, stagingTargetPath);
      return {};
    },
    nodePublishVolume: async (request) => {
      if (request.volumeContext[EPHEMERAL] === 'true') await publishEphemeral(context, request);
      else await publish(context, volumes.find(request.volumeId), request);
      return {};
    },
    nodeUnpublishVolume: async ({ volumeId, targetPath }) => {
      const volume = volumes.get(volumeId);
      if (volume !== undefined) await unpublish(context, volume, targetPath);
      return {};
    },
    nodeGetVolumeStats: async ({ volumeId, volumePath }) => {
      const volume = await volumeAt(context, volumeId, volumePath);
      return statsOf(context, volume, volumePath);
    },
    nodeExpandVolume: async ({ volumeId, volumePath, capacityRange, volumeCapability }) => {
      const volume = await volumeAt(context, volumeId, volumePath);
      const problem = capabilityProblem(volume, volumeCapability);
      if (problem !== undefined) {
        throw new KeelsonError('INVALID_ARGUMENT', 'Cannot expand', { reason: problem });
      }
      if ((capacityRange?.requiredBytes ?? 0n) > volume.capacityBytes) {
        throw new KeelsonError('OUT_OF_RANGE', `Cannot expand volume "${volumeId}" here`, {
          reason: `it has ${volume.capacityBytes} bytes: ControllerExpandVolume comes first`,
        });
      }
      await expand(context, volume, volumePath);
      return { capacityBytes: volume.capacityBytes };
    },
  };
}

async function stage(
  context: HostPathContext,
  volume: VolumeRecord,
  request: NodeStageVolumeRequest,
): Promise<void> {
  const { places } = context;
  const { stagingTargetPath: path, volumeCapability: capability } = request;
  refuseCapability(volume, request);
  const live = await places.live(volume);
  const wanted = placeOf(path, request);
  if (checkStaging(live.staged, wanted) === 'same') return;
  refuseForeignMount(path);
  const before = places.recorded(volume.id);
  await places.write({ ...before, staged: wanted });
  faultPoint('hostpath/stage/record');
  try {
    await stageVolume(context, volume, { path, capability });
    faultPoint('hostpath/stage/mount');
  } catch (error) {
    if (await places.shows(path, volume)) await unmountUnlessBusy(path);
    await places.write({ ...before, staged: live.staged });
    throw error;
  }
}

async function unstage(
  context: HostPathContext,
  volume: VolumeRecord,
  path: string,
): Promise<void> {
  const { places } = context;
  const live = await places.live(volume);
  if (live.published[0] !== undefined) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot unstage volume "${volume.id}"`, {
      reason: `it is published at "${live.published[0].path}"`,
    });
  }
  // What another has mounted there is not ours to take away.
  if (await places.shows(path, volume)) await unmountUnlessBusy(path);
  faultPoint('hostpath/unstage/unmount');
  const { staged } = places.recorded(volume.id);
  if (staged !== undefined && staged.path !== path) return;
  if (volume.kind === 'block') await releaseDevices(context, volume, false);
  // Targets that a reboot has left as empty directories are still to be removed.
  await places.write({ ...places.recorded(volume.id), staged: undefined });
}

async function publish(
  context: HostPathContext,
  volume: VolumeRecord,
  request: NodePublishVolumeRequest,
): Promise<void> {
  const { places } = context;
  const { stagingTargetPath: staging, targetPath: target } = request;
  refuseCapability(volume, request);
  const live = await places.live(volume);
  if (live.staged?.path !== staging) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot publish volume "${volume.id}"`, {
      reason: `it is not staged at "${staging}"`,
    });
  }
  const readonly = isReadonly(request);
  await publishAs(context, volume, placeOf(target, request), async () => {
    await publishVolume(context, volume, { staging, target, readonly });
  });
  // A driver that was killed may have mounted it, and not got as far as this.
  if (readonly && volume.kind !== 'block') addBindOptions(target, ['ro']);
}

/** Notes the place, does the work, and undoes both if it fails. */
async function publishAs(
  { places }: HostPathContext,
  volume: VolumeRecord,
  wanted: Place,
  work: () => Promise<void>,
): Promise<void> {
  const live = await places.live(volume);
  if (checkPublishing(live.published, wanted) === 'same') return;
  refuseForeignMount(wanted.path);
  const before = places.recorded(volume.id);
  const others = before.published.filter(({ path }) => path !== wanted.path);
  const isNew = (await ifExists(lstat(wanted.path))) === undefined;
  await places.write({ ...before, published: [...others, wanted] });
  faultPoint('hostpath/publish/record');
  try {
    await work();
    faultPoint('hostpath/publish/mount');
  } catch (error) {
    if (isNew || (await places.shows(wanted.path, volume))) await removeTarget(wanted.path);
    await places.write({ ...before, published: others });
    throw error;
  }
}

/** An inline volume lives as long as its publication: it is made here, and removed by `unpublish`. */
async function publishEphemeral(
  context: HostPathContext,
  request: NodePublishVolumeRequest,
): Promise<void> {
  const volume = await ephemeralVolume(context, request);
  refuseCapability(volume, request);
  const { targetPath: path, volumeCapability: capability } = request;
  await publishAs(context, volume, placeOf(path, request), async () => {
    await makeTarget(path);
    await stageVolume(context, volume, { path, capability });
  });
  if (isReadonly(request)) addBindOptions(path, ['ro']);
}

async function unpublish(
  context: HostPathContext,
  volume: VolumeRecord,
  target: string,
): Promise<void> {
  const { places } = context;
  const recorded = places.recorded(volume.id).published.some(({ path }) => path === target);
  const mount = mountAt(target);
  const ours = mount === undefined ? recorded : await places.shows(target, volume);
  if (ours) await removeTarget(target);
  faultPoint('hostpath/unpublish/target');
  const { staged, published } = places.recorded(volume.id);
  const others = published.filter(({ path }) => path !== target);
  if (volume.kind === 'block') await releaseDevices(context, volume, staged !== undefined);
  await places.write({ volumeId: volume.id, staged, published: others });
  if (volume.ephemeral && others.length === 0) await deleteVolume(context, volume);
}

async function expand(
  { layout, places }: HostPathContext,
  volume: VolumeRecord,
  path: string,
): Promise<void> {
  if (volume.kind === 'directory') return;
  for (const loop of await loopsOf(layout.image(volume.id))) {
    if (!loop.readonly) refreshLoopSize(loop.path);
    if (volume.fsType === undefined) continue;
    // The published mount may be for reading only: the staged one is not.
    const target = places.recorded(volume.id).staged?.path ?? path;
    await growFileSystem(volume.fsType, { device: loop.path, target }, layout.programs);
  }
}

/** The volume that is staged or published at a path. Fails with NOT_FOUND. */
async function volumeAt(
  { volumes, places }: HostPathContext,
  volumeId: string,
  path: string,
): Promise<VolumeRecord> {
  const volume = volumes.find(volumeId);
  const { staged, published } = await places.live(volume);
  if (staged?.path === path || published.some((place) => place.path === path)) return volume;
  throw new KeelsonError('NOT_FOUND', `Volume "${volumeId}" is not at "${path}"`);
}

function isReadonly({ readonly, volumeCapability }: NodePublishVolumeRequest): boolean {
  const mode = volumeCapability?.accessMode?.mode;
  return readonly || mode === Mode.SINGLE_NODE_READER_ONLY || mode === Mode.MULTI_NODE_READER_ONLY;
}

function refuseCapability(
  volume: VolumeRecord,
  { volumeCapability }: NodeStageVolumeRequest | NodePublishVolumeRequest,
): void {
  const problem = capabilityProblem(volume, volumeCapability);
  if (problem === undefined) return;
  throw new KeelsonError('FAILED_PRECONDITION', `Cannot use volume "${volume.id}" so`, {
    reason: problem,
  });
}

function refuseForeignMount(path: string): void {
  const mount = mountAt(path);
  if (mount === undefined) return;
  throw new KeelsonError('FAILED_PRECONDITION', `Cannot mount a volume at "${path}"`, {
    reason: `something else is mounted there: ${mount.type} ${mount.source}`,
  });
}
