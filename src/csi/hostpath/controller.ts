import { randomUUID } from 'node:crypto';
import { faultPoint, KeelsonError } from '../../base/index.ts';
import type { CreateVolumeRequest, DeepPartial, Snapshot, Volume } from '../../gen/csi/v1/csi.ts';
import { detachLoop, loopsOf, smallestFileSystem } from '../../linux/index.ts';
import type { ControllerMethods } from '../kit/driver.ts';
import { pageOf } from '../kit/paging.ts';
import { conditionOf } from './condition.ts';
import { checkSpace, freeBytes, growImage, makeContent } from './contents.ts';
import type { HostPathContext } from './context.ts';
import {
  checkSnapshotParameters,
  copyOrigin,
  type Origin,
  originOf,
  originOfVolume,
  sourceOf,
} from './copy-source.ts';
import {
  type Content,
  capabilityProblem,
  checkPrograms,
  checkSame,
  checkSource,
  contentFor,
  readParameters,
  sizeFor,
} from './plan-volume.ts';
import type { SnapshotRecord, VolumeRecord } from './records.ts';
import { checkTopology, isHere, topologyOf } from './topology.ts';

/** The Controller service of the host-path driver. */
export function controllerMethods(context: HostPathContext): ControllerMethods {
  const { volumes, snapshots } = context;
  return {
    createVolume: (request) => createVolume(context, request),
    deleteVolume: async ({ volumeId }) => {
      const volume = volumes.get(volumeId);
      if (volume !== undefined) await deleteVolume(context, volume);
      return {};
    },
    validateVolumeCapabilities: async (request) => {
      const volume = volumes.find(request.volumeId);
      const { volumeCapabilities, volumeContext, parameters } = request;
      const problem = volumeCapabilities
        .map((capability) => capabilityProblem(volume, capability))
        .find((each) => each !== undefined);
      if (problem !== undefined) return { message: problem };
      return { confirmed: { volumeCapabilities, volumeContext, parameters } };
    },
    listVolumes: async (request) => {
      const all = volumes.list().filter(({ ephemeral }) => !ephemeral);
      const { entries, nextToken } = pageOf(all, ({ id }) => id, request);
      return {
        entries: await Promise.all(entries.map((each) => entryOf(context, each))),
        nextToken,
      };
    },
    controllerGetVolume: async ({ volumeId }) => entryOf(context, volumes.find(volumeId)),
    getCapacity: async ({ accessibleTopology, volumeCapabilities, parameters }) => {
      readParameters(parameters);
      const content = volumeCapabilities.length === 0 ? undefined : contentFor(volumeCapabilities);
      const here = accessibleTopology === undefined || isHere(context, accessibleTopology);
      const free = here ? await freeBytes(context.layout.root) : 0n;
      const minimumVolumeSize =
        content?.fsType === undefined ? undefined : smallestFileSystem(content.fsType);
      return { availableCapacity: free, maximumVolumeSize: free, minimumVolumeSize };
    },
    controllerExpandVolume: async ({ volumeId, capacityRange, volumeCapability }) => {
      const volume = volumes.find(volumeId);
      const problem = capabilityProblem(volume, volumeCapability);
      if (problem !== undefined) {
        throw new KeelsonError('INVALID_ARGUMENT', 'Cannot expand', { reason: problem });
      }
      const { capacityBytes } = await expandVolume(context, volume, capacityRange);
      return { capacityBytes, nodeExpansionRequired: volume.kind !== 'directory' };
    },
    createSnapshot: async (request) => {
      checkSnapshotParameters(request.parameters);
      const { name, sourceVolumeId } = request;
      const known = snapshots.byName(name);
      if (known !== undefined && known.sourceVolumeId !== sourceVolumeId) {
        throw new KeelsonError('ALREADY_EXISTS', `Snapshot "${name}" is there already`, {
          reason: `it is one of volume "${known.sourceVolumeId}"`,
        });
      }
      const snapshot = known ?? (await createSnapshot(context, name, volumes.find(sourceVolumeId)));
      return { snapshot: snapshotAnswer(snapshot) };
    },
    deleteSnapshot: async ({ snapshotId }) => {
      if (snapshots.get(snapshotId) !== undefined) await snapshots.remove(snapshotId);
      return {};
    },
    listSnapshots: async (request) => {
      const { snapshotId, sourceVolumeId } = request;
      const all = snapshots
        .list()
        .filter(({ id }) => snapshotId === '' || id === snapshotId)
        .filter((each) => sourceVolumeId === '' || each.sourceVolumeId === sourceVolumeId);
      const { entries, nextToken } = pageOf(all, ({ id }) => id, request);
      return { entries: entries.map((each) => ({ snapshot: snapshotAnswer(each) })), nextToken };
    },
  };
}

async function createVolume(context: HostPathContext, request: CreateVolumeRequest) {
  const { thick } = readParameters(request.parameters);
  checkTopology(context, request.accessibilityRequirements);
  const content = contentFor(request.volumeCapabilities);
  const source = sourceOf(request);
  const known = context.volumes.byName(request.name);
  if (known !== undefined) {
    checkSame(known, request, { content, source });
    return { volume: volumeAnswer(context, known) };
  }
  checkPrograms(content);
  const origin = source === undefined ? undefined : originOf(context, source);
  if (origin !== undefined) checkSource(content, origin.record);
  const capacityBytes = sizeFor(request.capacityRange, content, origin?.size);
  const volume: VolumeRecord = {
    version: 1,
    id: randomUUID(),
    name: request.name,
    ...content,
    capacityBytes,
    thick,
    parameters: request.parameters,
    source,
    ephemeral: false,
    createdAt: new Date().toISOString(),
  };
  await addVolume(context, volume, origin);
  return { volume: volumeAnswer(context, volume) };
}

/** Makes a volume, filled from its origin if there is one. Nothing stays of one that fails. */
export async function addVolume(
  context: HostPathContext,
  volume: VolumeRecord,
  origin?: Origin,
): Promise<void> {
  const { layout, volumes } = context;
  await checkSpace(layout.root, volume.capacityBytes);
  const request = { ...contentOf(volume), size: volume.capacityBytes, thick: volume.thick };
  await volumes.add(volume, (directory) =>
    origin === undefined
      ? makeContent(directory, request, layout.programs)
      : copyOrigin(context, origin, { ...request, directory }),
  );
}

function contentOf({ kind, fsType }: Content): Content {
  return { kind, fsType };
}

/** Fails with FAILED_PRECONDITION as long as the volume is staged or published, or something is mounted in it. */
export async function deleteVolume(context: HostPathContext, volume: VolumeRecord): Promise<void> {
  const { layout, places, volumes } = context;
  const { staged } = await places.live(volume);
  const path = staged?.path ?? (await places.usedAt(volume));
  if (path !== undefined) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot delete volume "${volume.id}"`, {
      reason: `it is in use at "${path}"`,
    });
  }
  for (const loop of await loopsOf(layout.image(volume.id))) detachLoop(loop.path);
  await places.forget(volume.id);
  await volumes.remove(volume.id);
}

async function expandVolume(
  context: HostPathContext,
  volume: VolumeRecord,
  range: { requiredBytes: bigint; limitBytes: bigint } | undefined,
): Promise<VolumeRecord> {
  const { requiredBytes = 0n, limitBytes = 0n } = range ?? {};
  const present = volume.capacityBytes;
  if (limitBytes > 0n && limitBytes < present) {
    throw new KeelsonError('OUT_OF_RANGE', `Cannot make volume "${volume.id}" smaller`, {
      reason: `it has ${present} bytes, and the limit is ${limitBytes}`,
    });
  }
  if (requiredBytes <= present) return volume;
  const capacityBytes = sizeFor({ requiredBytes, limitBytes }, volume);
  await checkSpace(context.layout.root, capacityBytes - present);
  if (volume.kind !== 'directory') {
    const image = context.layout.image(volume.id);
    await growImage(image, capacityBytes, volume.thick, context.layout.programs);
  }
  faultPoint('hostpath/expand/image');
  // Killed before this, the image is larger than it need be; the repeated call goes on.
  const larger = { ...volume, capacityBytes };
  await context.volumes.update(larger);
  return larger;
}

async function createSnapshot(
  context: HostPathContext,
  name: string,
  volume: VolumeRecord,
): Promise<SnapshotRecord> {
  const content = contentOf(volume);
  const snapshot: SnapshotRecord = {
    version: 1,
    id: randomUUID(),
    name,
    ...content,
    sizeBytes: volume.capacityBytes,
    sourceVolumeId: volume.id,
    createdAt: new Date().toISOString(),
  };
  const request = { ...content, size: volume.capacityBytes, thick: false };
  return context.snapshots.add(snapshot, (directory) =>
    copyOrigin(context, originOfVolume(context, volume), { ...request, directory }),
  );
}

function volumeAnswer(context: HostPathContext, volume: VolumeRecord): DeepPartial<Volume> {
  const { id, capacityBytes, source } = volume;
  return {
    volumeId: id,
    capacityBytes,
    contentSource:
      source === undefined
        ? undefined
        : 'volumeId' in source
          ? { type: { $case: 'volume', value: source } }
          : { type: { $case: 'snapshot', value: source } },
    accessibleTopology: [topologyOf(context)],
  };
}

async function entryOf(context: HostPathContext, volume: VolumeRecord) {
  const volumeCondition = await conditionOf(context, volume);
  return { volume: volumeAnswer(context, volume), status: { volumeCondition } };
}

function snapshotAnswer(snapshot: SnapshotRecord): DeepPartial<Snapshot> {
  const { id, sizeBytes, sourceVolumeId, createdAt } = snapshot;
  const creationTime = new Date(createdAt);
  return { snapshotId: id, sizeBytes, sourceVolumeId, creationTime, readyToUse: true };
}
