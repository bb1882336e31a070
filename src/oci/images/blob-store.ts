import { open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { ifExists, KeyedLock, syncDirectory, writeFileAtomic } from '../../base/index.ts';
import { verifyDigest } from '../spec/index.ts';
import { digestOfBlobName, type Layout } from './layout.ts';
import { PartialBlob } from './partial-blob.ts';
import type { SharedProgress } from './shared-progress.ts';

export interface Space {
  bytes: number;
  inodes: number;
}

const DISK_BLOCK = 4096;

/** Blobs by digest: whole ones, and the beginnings of those that are being downloaded. */
export class BlobStore {
  readonly #layout: Layout;
  /** Sizes in bytes. */
  readonly #whole = new Map<string, number>();
  readonly #partial = new Map<string, number>();
  readonly #busy = new Set<string>();
  /** How many pulls need a blob that no image record names yet. */
  readonly #holds = new Map<string, number>();
  readonly #locks = new KeyedLock();

  private constructor(layout: Layout) {
    this.#layout = layout;
  }

  static async open(layout: Layout): Promise<BlobStore> {
    const store = new BlobStore(layout);
    await scan(layout.blobs, store.#whole);
    await scan(layout.partial, store.#partial);
    return store;
  }

  has(digest: string): boolean {
    return this.#whole.has(digest);
  }

  /** Bytes of a whole blob. */
  sizeOf(digest: string): number | undefined {
    return this.#whole.get(digest);
  }

  path(digest: string): string {
    return this.#layout.blob(digest);
  }

  partialPath(digest: string): string {
    return this.#layout.partialBlob(digest);
  }

  /** A whole blob, verified. Undefined if it is not there. */
  async read(digest: string): Promise<Buffer | undefined> {
    const content = await ifExists(readFile(this.#layout.blob(digest)));
    if (content !== undefined) verifyDigest(content, digest, `blob "${digest}"`);
    return content;
  }

  /** Writes a small blob that has been verified, and is held. */
  async write(digest: string, content: Uint8Array): Promise<void> {
    using _ = await this.#locks.acquire(`file ${digest}`);
    if (this.#whole.has(digest)) return;
    await writeFileAtomic(this.#layout.blob(digest), content, { durable: true });
    this.#whole.set(digest, content.length);
  }

  /** Keeps others from downloading a blob until the answer is disposed. */
  exclusive(digest: string, signal?: AbortSignal): Promise<Disposable> {
    return this.#locks.acquire(`download ${digest}`, signal);
  }

  /** Opens the beginning of a blob, to go on where an earlier download ended. For whom has it exclusively. */
  async openPartial(digest: string, size: number, progress: SharedProgress): Promise<PartialBlob> {
    this.#busy.add(digest);
    const path = this.#layout.partialBlob(digest);
    try {
      return await PartialBlob.open(path, size, progress, (bytes) => {
        this.#busy.delete(digest);
        this.#partial.set(digest, bytes);
      });
    } catch (error) {
      this.#busy.delete(digest);
      throw error;
    }
  }

  /** Makes a partial blob that is complete and verified a whole one. It is held. */
  async promote(digest: string): Promise<void> {
    using _ = await this.#locks.acquire(`file ${digest}`);
    const path = this.#layout.partialBlob(digest);
    const { size } = await stat(path);
    await flushFile(path);
    await rename(path, this.#layout.blob(digest));
    await syncDirectory(this.#layout.blobs);
    this.#partial.delete(digest);
    this.#whole.set(digest, size);
  }

  async dropPartial(digest: string): Promise<void> {
    await rm(this.#layout.partialBlob(digest), { force: true });
    this.#partial.delete(digest);
  }

  /** Keeps blobs from being collected until the answer is disposed. */
  hold(digests: readonly string[]): Disposable {
    for (const digest of digests) this.#holds.set(digest, (this.#holds.get(digest) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        for (const digest of digests) {
          const left = (this.#holds.get(digest) ?? 1) - 1;
          if (left > 0) this.#holds.set(digest, left);
          else this.#holds.delete(digest);
        }
      },
    };
  }

  /**
   * Removes whole blobs that nobody needs. Asks about each only when its turn has come:
   * a pull may need it by then. Answers the bytes that became free.
   */
  async collect(isLive: (digest: string) => boolean): Promise<number> {
    let freed = 0;
    for (const [digest, size] of [...this.#whole]) {
      using _ = await this.#locks.acquire(`file ${digest}`);
      if (this.#holds.has(digest) || isLive(digest) || !this.#whole.delete(digest)) continue;
      await rm(this.#layout.blob(digest), { force: true });
      freed += size;
    }
    return freed;
  }

  /** Removes partial blobs that have not grown for `age` milliseconds. Answers the bytes that became free. */
  async collectPartial(age: number): Promise<number> {
    let freed = 0;
    for (const [digest, size] of [...this.#partial]) {
      if (this.#busy.has(digest)) continue;
      using _ = await this.exclusive(digest);
      const info = await ifExists(stat(this.#layout.partialBlob(digest)));
      if (info !== undefined && Date.now() - info.mtimeMs < age) continue;
      await this.dropPartial(digest);
      freed += size;
    }
    return freed;
  }

  get space(): Space {
    const sizes = [...this.#whole.values(), ...this.#partial.values()];
    return {
      bytes: sizes.reduce((sum, size) => sum + Math.ceil(size / DISK_BLOCK) * DISK_BLOCK, 0),
      inodes: sizes.length,
    };
  }
}

async function scan(directory: string, sizes: Map<string, number>): Promise<void> {
  for (const name of await readdir(directory)) {
    const digest = digestOfBlobName(name);
    const path = `${directory}/${name}`;
    // Other names are of writes that did not end.
    if (digest === undefined) await rm(path, { force: true });
    else sizes.set(digest, (await stat(path)).size);
  }
}

async function flushFile(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.sync();
}
