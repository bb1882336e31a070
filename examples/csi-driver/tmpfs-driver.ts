/**
 * A CSI driver: volumes in memory. Each is a tmpfs of its own, limited to its size; what is
 * in it lives from NodeStageVolume to NodeUnstageVolume.
 *
 *     CSI_ENDPOINT=unix:///run/tmpfs-csi/csi.sock node tmpfs-driver.ts
 */
import { mkdir, statfs } from 'node:fs/promises';
import { hostname } from 'node:os';
import {
  bindMount,
  type CreateVolumeRequest,
  type CsiDriver,
  checkPublishing,
  checkStaging,
  KeelsonError,
  MS,
  mount,
  mountAt,
  type Place,
  placeOf,
  removeTarget,
  serveDriver,
  VolumeUsage_Unit as Unit,
  unmount,
  type VolumeCapability,
} from 'keelson/csi/driver';

interface TmpfsVolume {
  readonly size: bigint;
  staged?: Place | undefined;
  readonly published: Map<string, Place>;
}

/** The name is the id. A driver that keeps more than memory keeps this on the disk, too. */
const volumes = new Map<string, TmpfsVolume>();

function find(id: string): TmpfsVolume {
  const volume = volumes.get(id);
  if (volume === undefined) throw new KeelsonError('NOT_FOUND', `There is no volume "${id}"`);
  return volume;
}

const isMount = (path: string) => mountAt(path) !== undefined;
const sizeOf = ({ capacityRange }: CreateVolumeRequest) =>
  capacityRange?.requiredBytes || capacityRange?.limitBytes || 64n << 20n;
const isMountable = ({ accessType }: VolumeCapability) =>
  accessType?.$case === 'mount' && ['', 'tmpfs'].includes(accessType.value.fsType);

export const driver: CsiDriver = {
  name: 'tmpfs.example.com',
  version: '1.0.0',

  async createVolume(request) {
    if (!request.volumeCapabilities.every(isMountable)) {
      throw new KeelsonError('INVALID_ARGUMENT', 'Volumes in memory are mounted as tmpfs only');
    }
    const [id, size] = [request.name, sizeOf(request)];
    const known = volumes.get(id);
    const { requiredBytes = 0n, limitBytes = 0n } = request.capacityRange ?? {};
    if (known && (known.size < requiredBytes || (limitBytes > 0n && known.size > limitBytes))) {
      throw new KeelsonError('ALREADY_EXISTS', `Volume "${id}" has ${known.size} bytes`);
    }
    const volume = known ?? { size, published: new Map() };
    volumes.set(id, volume);
    return { volume: { volumeId: id, capacityBytes: volume.size } };
  },

  async deleteVolume({ volumeId }) {
    if (volumes.get(volumeId)?.staged !== undefined) {
      throw new KeelsonError('FAILED_PRECONDITION', `Volume "${volumeId}" is in use`);
    }
    volumes.delete(volumeId);
    return {};
  },

  async validateVolumeCapabilities({ volumeId, volumeCapabilities, volumeContext }) {
    find(volumeId);
    if (!volumeCapabilities.every(isMountable)) return { message: 'mounted as tmpfs only' };
    return { confirmed: { volumeCapabilities, volumeContext } };
  },

  async nodeGetInfo() {
    return { nodeId: hostname() };
  },

  async nodeStageVolume(request) {
    const volume = find(request.volumeId);
    const { stagingTargetPath: target, volumeCapability } = request;
    if (!volumeCapability || !isMountable(volumeCapability)) {
      throw new KeelsonError('FAILED_PRECONDITION', 'Volumes in memory are mounted as tmpfs only');
    }
    const place = placeOf(target, request);
    if (checkStaging(volume.staged, place) === 'same' && isMount(target)) return {};
    mount({ source: 'tmpfs', target, type: 'tmpfs', data: `size=${volume.size},mode=0770` });
    volume.staged = place;
    return {};
  },

  async nodeUnstageVolume({ volumeId, stagingTargetPath: path }) {
    const volume = volumes.get(volumeId);
    // What is mounted there may be another volume. One that is not known is of a driver before.
    if (volume && volume.staged?.path !== path) return {};
    unmount(path);
    if (volume) volume.staged = undefined;
    return {};
  },

  async nodePublishVolume(request) {
    const volume = find(request.volumeId);
    const { targetPath: target, readonly } = request;
    if (!isMount(request.stagingTargetPath)) {
      throw new KeelsonError('FAILED_PRECONDITION', `Volume "${request.volumeId}" is not staged`);
    }
    const place = placeOf(target, request);
    if (checkPublishing([...volume.published.values()], place) === 'same') return {};
    await mkdir(target, { recursive: true });
    bindMount(request.stagingTargetPath, target);
    if (readonly) mount({ target, flags: MS.BIND | MS.REMOUNT | MS.RDONLY });
    volume.published.set(target, place);
    return {};
  },

  async nodeUnpublishVolume({ volumeId, targetPath }) {
    const volume = volumes.get(volumeId);
    if (volume && !volume.published.has(targetPath)) return {};
    await removeTarget(targetPath);
    volume?.published.delete(targetPath);
    return {};
  },

  async nodeGetVolumeStats({ volumeId, volumePath }) {
    const { staged, published } = find(volumeId);
    const known = staged?.path === volumePath || published.has(volumePath);
    if (!known || !isMount(volumePath))
      throw new KeelsonError('NOT_FOUND', `No volume at "${volumePath}"`);
    const { blocks, bfree, bsize } = await statfs(volumePath, { bigint: true });
    const [total, available] = [blocks * bsize, bfree * bsize];
    return { usage: [{ unit: Unit.BYTES, total, available, used: total - available }] };
  },
};

if (import.meta.main) await serveDriver(driver);
