import { readdir, rm, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import {
  ifExists,
  type Logger,
  messageOf,
  readTextIfExists,
  writeFileAtomic,
} from '../../base/index.ts';
import { isDeviceNode, listMounts, loopsOf, mountsOfDevice } from '../../linux/index.ts';
import type { Place } from '../kit/places.ts';
import { mountAt } from '../kit/target.ts';
import type { Layout } from './layout.ts';
import { formatRecord, type NodeRecord, parseNode, type VolumeRecord } from './records.ts';

/**
 * Where volumes are staged and published on this node. The records say with which arguments,
 * and are written before anything is mounted; whether it is, the mount table says.
 */
export class NodePlaces {
  readonly #layout: Layout;
  readonly #records: Map<string, NodeRecord>;

  private constructor(layout: Layout, records: Map<string, NodeRecord>) {
    this.#layout = layout;
    this.#records = records;
  }

  static async open(layout: Layout, logger: Logger): Promise<NodePlaces> {
    const records = new Map<string, NodeRecord>();
    for (const name of await readdir(layout.node())) {
      if (!name.endsWith('.json')) continue;
      const id = basename(name, '.json');
      try {
        records.set(id, parseNode((await readTextIfExists(layout.node(id))) ?? ''));
      } catch (error) {
        // Written without waiting for the disk: a power loss, which ends all mounts, may empty it.
        logger.warn(
          { error, volume: id },
          `cannot read "${name}": ${messageOf(error)}; forgetting it`,
        );
        await rm(layout.node(id), { force: true });
      }
    }
    return new NodePlaces(layout, records);
  }

  ids(): string[] {
    return [...this.#records.keys()];
  }

  /** What the records say. */
  recorded(volumeId: string): NodeRecord {
    return this.#records.get(volumeId) ?? { volumeId, published: [] };
  }

  /** The places that are really there. */
  async live(volume: VolumeRecord): Promise<NodeRecord> {
    const { staged, published } = this.recorded(volume.id);
    const shown = await Promise.all(published.map(({ path }) => this.shows(path, volume)));
    return {
      volumeId: volume.id,
      ...((await this.#isStaged(volume, staged)) ? { staged } : {}),
      published: published.filter((_, index) => shown[index]),
    };
  }

  /** Whether a volume is what is mounted at a path. */
  async shows(path: string, volume: VolumeRecord): Promise<boolean> {
    const mount = mountAt(path);
    if (mount === undefined) return false;
    if (volume.kind === 'directory') return isSame(path, this.#layout.data(volume.id));
    const loops = await loopsOf(this.#layout.image(volume.id));
    if (volume.kind === 'filesystem') return loops.some((loop) => loop.path === mount.source);
    const nodes = await Promise.all(loops.map((loop) => isDeviceNode(path, loop.path)));
    return nodes.includes(true);
  }

  /**
   * Where the kernel has the volume mounted, whatever the records say: they may be lost. A
   * file system that is mounted twice, or checked while it is mounted, is destroyed.
   */
  async usedAt({ id, kind }: VolumeRecord): Promise<string | undefined> {
    const mounts = listMounts();
    const inside = `${this.#layout.place('volumes', id)}/`;
    const within = mounts.find(({ target }) => target.startsWith(inside));
    if (within !== undefined) return within.target;
    if (kind === 'directory')
      return mounts.find(({ root }) => root.endsWith(`/${id}/data`))?.target;
    for (const loop of await loopsOf(this.#layout.image(id))) {
      const [target] = await mountsOfDevice(loop.path);
      if (target !== undefined) return target;
    }
    return undefined;
  }

  async write(record: NodeRecord): Promise<void> {
    const { volumeId, staged, published } = record;
    if (staged === undefined && published.length === 0) return this.forget(volumeId);
    await writeFileAtomic(this.#layout.node(volumeId), formatRecord(record));
    this.#records.set(volumeId, record);
  }

  async forget(volumeId: string): Promise<void> {
    this.#records.delete(volumeId);
    await rm(this.#layout.node(volumeId), { force: true });
  }

  /** A block device is not mounted where it is staged: it is attached. */
  async #isStaged(volume: VolumeRecord, staged: Place | undefined): Promise<boolean> {
    if (staged === undefined) return false;
    if (volume.kind !== 'block') return this.shows(staged.path, volume);
    return (await loopsOf(this.#layout.image(volume.id))).some(({ readonly }) => !readonly);
  }
}

async function isSame(path: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([ifExists(stat(path)), ifExists(stat(other))]);
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}
