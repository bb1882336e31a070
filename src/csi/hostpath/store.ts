import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  faultPoint,
  KeelsonError,
  type Logger,
  messageOf,
  syncDirectory,
  writeFileAtomic,
} from '../../base/index.ts';
import { removeTree } from '../../linux/index.ts';
import type { Layout } from './layout.ts';
import {
  formatRecord,
  parseSnapshot,
  parseVolume,
  type SnapshotRecord,
  type VolumeRecord,
} from './records.ts';

const RECORD = 'record.json';

interface Named {
  readonly id: string;
  readonly name: string;
}

/**
 * Volumes or snapshots with their records, on the disk and in memory. Being killed at any
 * step leaves each whole or not at all; what was half made or half removed is cleared away
 * by the next start.
 */
export class Store<T extends Named> {
  readonly #layout: Layout;
  readonly #kind: 'volumes' | 'snapshots';
  readonly #records = new Map<string, T>();

  private constructor(layout: Layout, kind: 'volumes' | 'snapshots') {
    this.#layout = layout;
    this.#kind = kind;
  }

  static openVolumes(layout: Layout, logger: Logger): Promise<Store<VolumeRecord>> {
    return Store.#open(layout, 'volumes', parseVolume, logger);
  }

  static openSnapshots(layout: Layout, logger: Logger): Promise<Store<SnapshotRecord>> {
    return Store.#open(layout, 'snapshots', parseSnapshot, logger);
  }

  static async #open<T extends Named>(
    layout: Layout,
    kind: 'volumes' | 'snapshots',
    parse: (text: string) => T,
    logger: Logger,
  ): Promise<Store<T>> {
    const store = new Store<T>(layout, kind);
    for (const id of await readdir(layout.place(kind))) {
      const file = join(layout.place(kind, id), RECORD);
      try {
        const record = parse(await readFile(file, 'utf8'));
        if (record.id !== id) throw new Error(`it is the record of "${record.id}"`);
        store.#records.set(id, record);
      } catch (error) {
        const problem = `cannot read "${file}": ${messageOf(error)}; what is there stays as it is`;
        logger.error({ error, file }, problem);
      }
    }
    return store;
  }

  list(): T[] {
    return [...this.#records.values()];
  }

  get(id: string): T | undefined {
    return this.#records.get(id);
  }

  /** Fails with NOT_FOUND. The id, which may be anything, is only looked up. */
  find(id: string): T {
    const record = this.#records.get(id);
    if (record !== undefined) return record;
    const what = this.#kind === 'volumes' ? 'volume' : 'snapshot';
    throw new KeelsonError('NOT_FOUND', `There is no ${what} ${JSON.stringify(id)}`);
  }

  byName(name: string): T | undefined {
    return this.list().find((record) => record.name === name);
  }

  /** Adds what `fill` puts into the directory that it is given. Nothing stays if it fails. */
  async add(record: T, fill: (directory: string) => Promise<void>): Promise<T> {
    const making = this.#layout.place('new', record.id);
    const operation = `hostpath/add to ${this.#kind}`;
    try {
      await mkdir(making, { mode: 0o711 });
      faultPoint(`${operation}/directory`);
      await fill(making);
      faultPoint(`${operation}/content`);
      await writeFileAtomic(join(making, RECORD), formatRecord(record), { durable: true });
      faultPoint(`${operation}/record`);
      await rename(making, this.#layout.place(this.#kind, record.id));
    } catch (error) {
      await removeTree(making, this.#layout.programs);
      throw error;
    }
    await syncDirectory(this.#layout.place(this.#kind));
    faultPoint(`${operation}/rename`);
    this.#records.set(record.id, record);
    return record;
  }

  /** Replaces the record of one that is there. */
  async update(record: T): Promise<void> {
    const file = join(this.#layout.place(this.#kind, record.id), RECORD);
    await writeFileAtomic(file, formatRecord(record), { durable: true });
    this.#records.set(record.id, record);
  }

  async remove(id: string): Promise<void> {
    // An id that was used again while trash is still there must not meet it.
    const trash = this.#layout.place('trash', `${id}-${randomBytes(6).toString('hex')}`);
    await rename(this.#layout.place(this.#kind, id), trash);
    this.#records.delete(id);
    faultPoint(`hostpath/remove from ${this.#kind}/rename`);
    await syncDirectory(this.#layout.place(this.#kind));
    await removeTree(trash, this.#layout.programs);
  }
}

/** Clears away what a driver left that was killed. */
export async function clearUnfinished(layout: Layout, logger: Logger): Promise<void> {
  for (const kind of ['new', 'trash'] as const) {
    for (const name of await readdir(layout.place(kind))) {
      const path = layout.place(kind, name);
      try {
        await removeTree(path, layout.programs);
        logger.info({ path }, `cleared away "${path}", left by a driver that was killed`);
      } catch (error) {
        logger.error({ error, path }, `cannot clear away "${path}": ${messageOf(error)}; going on`);
      }
    }
  }
  for (const name of await readdir(layout.node())) {
    if (name.endsWith('.tmp')) await rm(join(layout.node(), name), { force: true });
  }
}
