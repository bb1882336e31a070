import { abandonOn, KeelsonError, messageOf, Semaphore } from '../../base/index.ts';
import type { Credentials, EndpointExplanation } from '../registry/index.ts';
import { parseManifest } from '../spec/index.ts';
import { type ArchiveInput, loadArchive } from './archive-load.ts';
import { type SaveOptions, saveArchive } from './archive-save.ts';
import { type Collected, collect } from './collection.ts';
import { findImage } from './find-image.ts';
import type { ImageRecord } from './image-record.ts';
import type { StoredImage } from './image-records.ts';
import { visible } from './layer-store.ts';
import type { PullOptions } from './pull.ts';
import type { PullProgress } from './pull-progress.ts';
import { type ImageStoreOptions, openParts, type StoreParts } from './store-parts.ts';
import { type ArchiveToUnpack, unpackArchive } from './unpack-archive.ts';

const DAY = 24 * 60 * 60 * 1000;
/** Milliseconds that closing the store waits for deletions. */
const DELETION_PATIENCE = 2000;

/**
 * The images of this machine. What is answered by `find` and `list` is complete, and on
 * the disk: a crash or a power loss at any point leaves an image whole or leaves none.
 */
export class ImageStore implements AsyncDisposable {
  readonly #options: ImageStoreOptions;
  readonly #parts: StoreParts;
  /** Collecting one after the other: what a second would free the first may be freeing. */
  readonly #collecting = new Semaphore(1);
  readonly #closing = new AbortController();
  /** Until the holds of before a restart are renewed, nothing may be collected. */
  #mayCollect = false;

  private constructor(options: ImageStoreOptions, parts: StoreParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /**
   * Opens the store, repairing what a crash left: layers without a commit mark and writes
   * that did not end are discarded, records that cannot be used set aside and logged.
   */
  static async open(options: ImageStoreOptions): Promise<ImageStore> {
    return new ImageStore(options, await openParts(options));
  }

  /**
   * Pulls an image, or finds that it is here and current. Calls for the same reference and
   * credentials share one pull; each may give up alone, and when all have, it ends, keeping
   * what was downloaded for the next. Fails with NOT_FOUND, UNAUTHENTICATED,
   * PERMISSION_DENIED, UNAVAILABLE (the message begins with `RegistryUnavailable`),
   * DATA_LOSS, INVALID_ARGUMENT or RESOURCE_EXHAUSTED.
   */
  async pull(reference: string, options: PullOptions): Promise<ImageRecord> {
    const signal = AbortSignal.any([options.signal, this.#closing.signal]);
    const id = await this.#parts.puller.pull(reference, { ...options, signal });
    const image = this.#read(id);
    if (image !== undefined) return image;
    throw new KeelsonError('ABORTED', `Cannot pull image "${reference}"`, {
      reason: 'it was removed meanwhile',
    });
  }

  /** The pulls that are under way, and how far they are. */
  pulls(): PullProgress[] {
    return this.#parts.puller.underWay;
  }

  /**
   * Finds an image by id (with or without `sha256:`, or its unique beginning), tag, or
   * digest; a short name stands for what a pull of it would bring.
   */
  async find(nameOrId: string): Promise<ImageRecord | undefined> {
    const image = await findImage(nameOrId, this.#parts);
    return image === undefined ? undefined : this.#parts.reader.read(image);
  }

  list(): ImageRecord[] {
    return this.#parts.records.list().map((image) => this.#parts.reader.read(image));
  }

  /** Removes an image with all its names. That there is none is fine. Held layers stay until released. */
  async remove(nameOrId: string): Promise<void> {
    const image = await findImage(nameOrId, this.#parts);
    if (image !== undefined && (await this.#removeRecord(image.id))) this.#collectLater();
  }

  /** The directories of an image's layers, absolute, topmost first: `lowerdir` of an overlay mount. */
  layerPaths(image: ImageRecord): string[] {
    return this.layerPathsOf(image.layers.map(({ id }) => id));
  }

  /**
   * The same for an overlay that nobody writes to: such a one needs two directories, so that
   * an empty one lies below. It must stay as long as the overlay does, as layers do.
   */
  readonlyLayerPaths(image: ImageRecord): string[] {
    return [...new Set([...this.layerPaths(image), this.#parts.layout.empty])];
  }

  /** As `layerPaths` for layer ids, base first, as a container recorded them. */
  layerPathsOf(layerIds: readonly string[]): string[] {
    const { layers, layout } = this.#parts;
    const topmostFirst = layerIds.toReversed().map((id) => {
      const record = layers.get(id);
      if (record !== undefined) return record;
      throw new KeelsonError('NOT_FOUND', `Cannot use layer "${id}"`, {
        reason: 'it is not there',
      });
    });
    // A layer that occurs twice: overlayfs takes each directory once, and the upper one counts.
    const paths = [...new Set(visible(topmostFirst).map(({ id }) => layout.layer(id)))];
    return paths.length === 0 ? [layout.empty] : paths;
  }

  /** Keeps the layers of an image, also when the image is removed. Fails with NOT_FOUND if they are gone. */
  hold(owner: string, image: ImageRecord): void {
    const ids = image.layers.map(({ id }) => id);
    if (this.holdLayers(owner, ids).length === 0) return;
    this.release(owner);
    throw new KeelsonError('NOT_FOUND', `Cannot use image "${image.id}"`, {
      reason: 'it was removed meanwhile',
    });
  }

  /** Keeps layers by their ids. Answers those that are not there. */
  holdLayers(owner: string, layerIds: readonly string[]): string[] {
    this.#parts.layers.hold(owner, layerIds);
    return layerIds.filter((id) => this.#parts.layers.get(id) === undefined);
  }

  /** Gives up all that `owner` held. What nothing needs any more is removed in the background. */
  release(owner: string): void {
    if (this.#parts.layers.release(owner)) this.#collectLater();
  }

  /**
   * Removes layers, blobs and old partial downloads that nothing needs. The first call
   * says that all holds of before a restart are renewed: nothing is removed earlier.
   */
  async collectGarbage(): Promise<Collected> {
    this.#mayCollect = true;
    return this.#collect(this.#options.partialLifetime ?? DAY);
  }

  /**
   * Removes the images that no container holds, only those without a tag unless `all`,
   * but no pinned ones, and all partial downloads. Answers the ids and the bytes that
   * became free.
   */
  async prune(options: { all?: boolean } = {}): Promise<{ removed: string[]; freed: Collected }> {
    const { layers } = this.#parts;
    const removed: string[] = [];
    for (const image of this.list()) {
      const top = image.layers.at(-1);
      const inUse = top !== undefined && layers.isHeld(top.id);
      if (inUse || image.pinned || (!options.all && image.repoTags.length > 0)) continue;
      if (await this.#removeRecord(image.id)) removed.push(image.id);
    }
    return { removed, freed: await this.#collect(0) };
  }

  /**
   * Loads the images of an archive, given as the path of a file or as bytes: an OCI layout
   * or what `docker save` writes, plain or compressed.
   */
  async load(input: ArchiveInput, { signal }: { signal: AbortSignal }): Promise<ImageRecord[]> {
    const both = AbortSignal.any([signal, this.#closing.signal]);
    const ids = await loadArchive(input, this.#parts, both);
    return ids.flatMap((id) => this.#read(id) ?? []);
  }

  /** Unpacks an archive that is no image, with the limits of layers. */
  async unpackArchive(archive: ArchiveToUnpack, signal: AbortSignal): Promise<void> {
    await unpackArchive(archive, this.#parts, signal);
  }

  /** The annotations of an image's manifest. */
  async annotationsOf({ manifestDigest }: ImageRecord): Promise<Record<string, string>> {
    const content = await this.#parts.blobs.read(manifestDigest);
    const document = content && parseManifest(content, undefined);
    return (document?.kind === 'manifest' && document.manifest.annotations) || {};
  }

  /** Writes images as one archive, piece by piece. Fails with NOT_FOUND if one is not here. */
  async *save(names: readonly string[], options: SaveOptions): AsyncGenerator<Buffer> {
    const images = new Set<StoredImage>();
    for (const name of names) {
      const image = await findImage(name, this.#parts);
      if (image === undefined) {
        throw new KeelsonError('NOT_FOUND', `Cannot save image "${name}"`, {
          reason: 'it is not here',
        });
      }
      images.add(image);
    }
    yield* saveArchive([...images], this.#parts, options);
  }

  /** Which endpoints a pull would ask, in which order, with which credentials and why. Secrets are left out. */
  explain(
    reference: string,
    options: { credentials?: Credentials; signal: AbortSignal },
  ): Promise<EndpointExplanation[]> {
    return this.#parts.client.explain(reference, options.credentials, options.signal);
  }

  /** The space that images take, as accounted when they were written. */
  usage(): { mountpoint: string; usedBytes: number; inodesUsed: number } {
    const { layout, layers, blobs } = this.#parts;
    return {
      mountpoint: layout.root,
      usedBytes: layers.space.bytes + blobs.space.bytes,
      inodesUsed: layers.space.inodes + blobs.space.inodes,
    };
  }

  /** Ends pulls and waits until they have landed. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { puller, layers, pool, client, disk } = this.#parts;
    this.#closing.abort(
      new KeelsonError('CANCELLED', 'Cannot pull', { reason: 'the daemon stops' }),
    );
    await puller.landed();
    using _ = await this.#collecting.acquire();
    // What is not deleted by then is in the trash, and the next start goes on.
    await abandonOn(AbortSignal.timeout(DELETION_PATIENCE), layers.deleted()).catch(() => {});
    await pool[Symbol.asyncDispose]();
    await disk[Symbol.asyncDispose]();
    await client[Symbol.asyncDispose]();
  }

  #read(id: string): ImageRecord | undefined {
    const image = this.#parts.records.get(id);
    return image === undefined ? undefined : this.#parts.reader.read(image);
  }

  #removeRecord(id: string): Promise<boolean> {
    const { records, reader } = this.#parts;
    return records.remove(id, (removed) => reader.forget(removed));
  }

  #collectLater(): void {
    if (!this.#mayCollect || this.#closing.signal.aborted) return;
    this.#collect(this.#options.partialLifetime ?? DAY).catch((error: unknown) => {
      this.#options.logger.warn({ error }, `cannot collect garbage: ${messageOf(error)}`);
    });
  }

  async #collect(partialLifetime: number): Promise<Collected> {
    using _ = await this.#collecting.acquire();
    const { keepBlobs = false } = this.#options;
    return collect({ ...this.#parts, keepBlobs, partialLifetime });
  }
}
