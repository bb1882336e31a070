import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KeelsonError } from '../../../src/base/index.ts';
import { bindMount, unmount } from '../../../src/linux/index.ts';

interface KeptVolume {
  name: string;
  capacityBytes: bigint;
  volumeContext: Record<string, string>;
  contentSource: object | undefined;
}

interface KeptSnapshot {
  name: string;
  sourceVolumeId: string;
  sizeBytes: bigint;
  creationTime: Date;
}

type Request = Record<string, unknown>;
type Work = (request: Request) => Promise<object> | object;

/** 1 GiB, where nothing else is asked for. */
const USUAL_SIZE = 1n << 30n;

/**
 * The state of a scripted driver and what its calls do: directories, bind-mounted where they
 * are staged and published. It keeps to the specification as far as a host can tell; lies and
 * faults are added around it.
 */
export class ScriptedVolumes {
  readonly volumes = new Map<string, KeptVolume>();
  readonly snapshots = new Map<string, KeptSnapshot>();
  /** Volume id and node id, as `volume@node`. */
  readonly attached = new Set<string>();
  /** Path to volume id. */
  readonly staged = new Map<string, string>();
  readonly published = new Map<string, string>();
  readonly #directory: string;
  #last = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  readonly work: Record<string, Work> = {
    CreateVolume: (request) => this.#create(request),
    DeleteVolume: async ({ volumeId }) => {
      this.volumes.delete(String(volumeId));
      await rm(this.#content(volumeId), { recursive: true, force: true });
      return {};
    },
    ControllerPublishVolume: ({ volumeId, nodeId }) => {
      this.#volume(volumeId);
      this.attached.add(`${volumeId}@${nodeId}`);
      return { publishContext: { device: `scripted-${volumeId}` } };
    },
    ControllerUnpublishVolume: ({ volumeId, nodeId }) => {
      for (const each of [...this.attached]) {
        if (nodeId === '' ? each.startsWith(`${volumeId}@`) : each === `${volumeId}@${nodeId}`) {
          this.attached.delete(each);
        }
      }
      return {};
    },
    ValidateVolumeCapabilities: ({ volumeId, volumeCapabilities, volumeContext }) => {
      this.#volume(volumeId);
      return { confirmed: { volumeCapabilities, volumeContext } };
    },
    ListVolumes: () => ({ entries: [...this.volumes.keys()].map((id) => this.#entry(id)) }),
    ControllerGetVolume: ({ volumeId }) => this.#entry(String(volumeId)),
    GetCapacity: () => ({ availableCapacity: 1n << 40n }),
    CreateSnapshot: (request) => this.#createSnapshot(request),
    DeleteSnapshot: ({ snapshotId }) => {
      this.snapshots.delete(String(snapshotId));
      return {};
    },
    ListSnapshots: () => ({
      entries: [...this.snapshots.keys()].map((id) => ({ snapshot: this.#snapshot(id) })),
    }),
    ControllerExpandVolume: ({ volumeId, capacityRange }) => {
      const volume = this.#volume(volumeId);
      const { requiredBytes } = capacityRange as { requiredBytes: bigint };
      if (requiredBytes > volume.capacityBytes) volume.capacityBytes = requiredBytes;
      return { capacityBytes: volume.capacityBytes, nodeExpansionRequired: true };
    },
    NodeStageVolume: async ({ volumeId, stagingTargetPath }) => {
      await this.#mount(volumeId, String(stagingTargetPath), this.staged);
      return {};
    },
    NodeUnstageVolume: ({ stagingTargetPath }) => {
      this.#unmount(String(stagingTargetPath), this.staged);
      return {};
    },
    NodePublishVolume: async ({ volumeId, targetPath }) => {
      await this.#mount(volumeId, String(targetPath), this.published);
      return {};
    },
    NodeUnpublishVolume: async ({ targetPath }) => {
      this.#unmount(String(targetPath), this.published);
      await rm(String(targetPath), { recursive: true, force: true });
      return {};
    },
    NodeGetVolumeStats: ({ volumeId }) => {
      const total = this.#volume(volumeId).capacityBytes;
      const usage = [{ unit: 1, total, available: total, used: 0n }];
      return { usage, volumeCondition: { abnormal: false, message: 'all is well' } };
    },
    NodeExpandVolume: ({ volumeId }) => ({ capacityBytes: this.#volume(volumeId).capacityBytes }),
  };

  /** Takes all mounts away: a driver that is gone leaves them. */
  unmountAll(): void {
    for (const path of this.published.keys()) this.#unmount(path, this.published);
    for (const path of this.staged.keys()) this.#unmount(path, this.staged);
  }

  async #create(request: Request): Promise<object> {
    const { name, capacityRange, parameters, volumeContentSource } = request;
    const known = [...this.volumes].find(([, volume]) => volume.name === name);
    if (known !== undefined) return { volume: this.#entry(known[0]).volume };
    const { requiredBytes = 0n } = (capacityRange ?? {}) as { requiredBytes?: bigint };
    const id = `scripted-${++this.#last}`;
    this.volumes.set(id, {
      name: String(name),
      capacityBytes: requiredBytes > 0n ? requiredBytes : USUAL_SIZE,
      volumeContext: { ...(parameters as Record<string, string>) },
      contentSource: volumeContentSource as object | undefined,
    });
    await mkdir(this.#content(id), { recursive: true });
    return { volume: this.#entry(id).volume };
  }

  #createSnapshot({ name, sourceVolumeId }: Request): object {
    const known = [...this.snapshots].find(([, snapshot]) => snapshot.name === name);
    if (known !== undefined) return { snapshot: this.#snapshot(known[0]) };
    const sizeBytes = this.#volume(sourceVolumeId).capacityBytes;
    const id = `snapshot-${++this.#last}`;
    const snapshot = {
      sourceVolumeId: String(sourceVolumeId),
      sizeBytes,
      creationTime: new Date(),
    };
    this.snapshots.set(id, { name: String(name), ...snapshot });
    return { snapshot: this.#snapshot(id) };
  }

  #snapshot(snapshotId: string) {
    const { sourceVolumeId, sizeBytes, creationTime } = this.snapshots.get(snapshotId)!;
    return { snapshotId, sourceVolumeId, sizeBytes, creationTime, readyToUse: true };
  }

  #entry(volumeId: string) {
    const { capacityBytes, volumeContext, contentSource } = this.#volume(volumeId);
    const publishedNodeIds = [...this.attached]
      .filter((each) => each.startsWith(`${volumeId}@`))
      .map((each) => each.slice(volumeId.length + 1));
    return {
      volume: { volumeId, capacityBytes, volumeContext, contentSource },
      status: { publishedNodeIds },
    };
  }

  #volume(id: unknown): KeptVolume {
    const volume = this.volumes.get(String(id));
    if (volume === undefined) throw new KeelsonError('NOT_FOUND', `There is no volume "${id}"`);
    return volume;
  }

  #content(id: unknown): string {
    return join(this.#directory, 'volumes', String(id));
  }

  async #mount(id: unknown, path: string, places: Map<string, string>): Promise<void> {
    this.#volume(id);
    if (places.get(path) === id) return;
    await mkdir(path, { recursive: true });
    bindMount(this.#content(id), path);
    places.set(path, String(id));
  }

  #unmount(path: string, places: Map<string, string>): void {
    unmount(path);
    places.delete(path);
  }
}
