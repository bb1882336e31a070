import { randomInt } from 'node:crypto';
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { faultPoint, type Logger, syncDirectory, writeFileAtomic } from '../../base/index.ts';
import type { Space } from './blob-store.ts';
import type { DiskFlush } from './disk-flush.ts';
import type { Layout } from './layout.ts';
import { readRecords } from './stored-json.ts';
import type { UnpackPool } from './unpack-pool.ts';

const layerSchema = z.object({
  version: z.literal(1),
  /** The name of its directory. */
  id: z.string().regex(/^[a-z0-9]{1,32}$/),
  /** The digest of the archive that it was unpacked from. */
  diffId: z.string(),
  /**
   * The chain of layers that it was completed with: directories that its archive only
   * implies look as they do below. Left out for a layer that fits onto any other.
   */
  chainId: z.string().optional(),
  bytes: z.number(),
  inodes: z.number(),
  rootAttributes: z.object({ mode: z.number(), uid: z.number(), gid: z.number() }).optional(),
  /** Hides all layers below it. */
  opaqueRoot: z.boolean(),
});

/** The commit mark of a layer. */
export type LayerRecord = z.output<typeof layerSchema>;

const ID_LENGTH = 6;
const ID_DIGITS = 'abcdefghijklmnopqrstuvwxyz0123456789';

export interface LayerStoreParts {
  layout: Layout;
  pool: UnpackPool;
  disk: DiskFlush;
  logger: Logger;
}

/** The unpacked layers. Images refer to them, and so do holds, which live in memory only. */
export class LayerStore {
  readonly #layout: Layout;
  readonly #pool: UnpackPool;
  readonly #disk: DiskFlush;
  readonly #logger: Logger;
  readonly #layers = new Map<string, LayerRecord>();
  readonly #byDiff = new Map<string, LayerRecord>();
  readonly #byChain = new Map<string, LayerRecord>();
  readonly #holds = new Map<string, Set<string>>();
  readonly #deleting = new Set<Promise<void>>();

  private constructor({ layout, pool, disk, logger }: LayerStoreParts) {
    this.#layout = layout;
    this.#pool = pool;
    this.#disk = disk;
    this.#logger = logger;
  }

  /** Reads the marks, and discards directories without one: their unpacking did not end. */
  static async open(parts: LayerStoreParts): Promise<LayerStore> {
    const { layout, logger } = parts;
    const store = new LayerStore(parts);
    const there = new Set(await readdir(layout.layers));
    for (const record of await readRecords(layout.marks, layerSchema, { layout, logger })) {
      if (there.delete(record.id)) store.#add(record);
      else await rm(layout.mark(record.id), { force: true });
    }
    for (const name of there) await store.discard(join(layout.layers, name));
    for (const name of await readdir(layout.trash)) store.#delete(join(layout.trash, name));
    return store;
  }

  get(id: string): LayerRecord | undefined {
    return this.#layers.get(id);
  }

  /** The layer with this content: one that fits anywhere, or one completed with this very chain. */
  find(diffId: string, chainId: string): LayerRecord | undefined {
    return this.#byDiff.get(diffId) ?? this.#byChain.get(chainId);
  }

  /** An unused id. Short, see Layout; random, because an id that was used may still be held somewhere. */
  newId(): string {
    for (;;) {
      const id = Array.from(
        { length: ID_LENGTH },
        () => ID_DIGITS[randomInt(ID_DIGITS.length)],
      ).join('');
      if (!this.#layers.has(id)) return id;
    }
  }

  /** Makes an unpacked layer one that is there, after its files are on the disk. */
  async commit(record: LayerRecord): Promise<void> {
    await this.#disk.flush();
    await writeFileAtomic(this.#layout.mark(record.id), JSON.stringify(record), { durable: true });
    this.#add(record);
  }

  hold(owner: string, ids: Iterable<string>): void {
    const held = this.#holds.get(owner) ?? new Set();
    for (const id of ids) held.add(id);
    this.#holds.set(owner, held);
  }

  isHeld(id: string): boolean {
    return [...this.#holds.values()].some((ids) => ids.has(id));
  }

  /** Answers whether the owner held anything. */
  release(owner: string): boolean {
    return this.#holds.delete(owner);
  }

  /** Removes the layers that neither `live` nor a hold names. Answers the bytes that become free. */
  async collect(live: ReadonlySet<string>): Promise<number> {
    const held = new Set([...this.#holds.values()].flatMap((ids) => [...ids]));
    const dead = [...this.#layers.values()].filter(({ id }) => !live.has(id) && !held.has(id));
    if (dead.length === 0) return 0;
    for (const record of dead) this.#forget(record);
    for (const { id } of dead) await rm(this.#layout.mark(id), { force: true });
    faultPoint('images/marks removed');
    // The marks must be gone for good before the files go.
    await syncDirectory(this.#layout.marks);
    for (const { id } of dead) await this.discard(this.#layout.layer(id));
    return dead.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Takes a directory away at once, and deletes it in the background. */
  async discard(directory: string): Promise<void> {
    const trash = join(this.#layout.trash, `${this.newId()}${this.newId()}`);
    try {
      await rename(directory, trash);
    } catch (error) {
      this.#logger.debug({ directory, error }, 'nothing to discard');
      return;
    }
    faultPoint('images/layer in trash');
    this.#delete(trash);
  }

  get space(): Space {
    const records = [...this.#layers.values()];
    return {
      bytes: records.reduce((sum, { bytes }) => sum + bytes, 0),
      inodes: records.reduce((sum, { inodes }) => sum + inodes, 0),
    };
  }

  #add(record: LayerRecord): void {
    this.#layers.set(record.id, record);
    if (record.chainId === undefined) this.#byDiff.set(record.diffId, record);
    else this.#byChain.set(record.chainId, record);
  }

  #forget(record: LayerRecord): void {
    this.#layers.delete(record.id);
    if (this.#byDiff.get(record.diffId) === record) this.#byDiff.delete(record.diffId);
    const { chainId } = record;
    if (chainId !== undefined && this.#byChain.get(chainId) === record)
      this.#byChain.delete(chainId);
  }

  /** Resolves when nothing is being deleted. */
  async deleted(): Promise<void> {
    await Promise.all(this.#deleting);
  }

  #delete(path: string): void {
    const deleting = this.#pool
      .perform('remove', { path })
      .catch((error: unknown) => {
        this.#logger.warn({ path, error }, 'cannot delete; the next start tries again');
      })
      .then(() => void this.#deleting.delete(deleting));
    this.#deleting.add(deleting);
  }
}

/** The layers, topmost first, down to one that hides all below it. */
export function visible<T extends { opaqueRoot: boolean }>(topmostFirst: readonly T[]): T[] {
  const last = topmostFirst.findIndex(({ opaqueRoot }) => opaqueRoot);
  return last < 0 ? [...topmostFirst] : topmostFirst.slice(0, last + 1);
}
