import {
  codeOf,
  Flights,
  faultPoint,
  KeyedLock,
  type Logger,
  Semaphore,
  span,
} from '../../base/index.ts';
import type { Endpoint } from '../registry/index.ts';
import type { BlobStore } from './blob-store.ts';
import type { DescribedLayer, ImageSource } from './image-description.ts';
import { dependsOnBelow, type WrittenLayer } from './layer-files.ts';
import { type LayerRecord, type LayerStore, visible } from './layer-store.ts';
import type { LayerLimits } from './layer-writer.ts';
import type { Layout } from './layout.ts';
import { SharedProgress } from './shared-progress.ts';
import { together } from './together.ts';
import type { UnpackPool } from './unpack-pool.ts';

export interface LayerFetcherOptions {
  layout: Layout;
  layers: LayerStore;
  blobs: BlobStore;
  pool: UnpackPool;
  logger: Logger;
  limits: LayerLimits;
  refuseDevices: boolean;
  /** Keep layers packed too after they are unpacked. */
  keepBlobs: boolean;
  /** Downloads at the same time, over all images. */
  downloads: number;
}

/** How far one layer is. */
export interface LayerProgress {
  digest: string;
  /** Bytes of the blob. */
  size: number;
  downloaded: number;
  unpacked: number;
}

/** A layer with what it takes to have it. */
export interface LayerRequest extends DescribedLayer {
  source: ImageSource;
  /** Who holds the layer as soon as it is there. */
  owner: string;
  /** Lets so many layers of one image download at a time. */
  lane: Semaphore;
  /** The layers below, base first, once they are there. */
  below: () => Promise<LayerRecord[]>;
}

/** Tries of a blob whose content was wrong: first what was resumed, then each endpoint anew. */
const CONTENT_ATTEMPTS = 4;

/**
 * Downloads and unpacks layers, each once however many pulls want it at the same time.
 * A layer is unpacked while it is being downloaded, and counts only once it is committed:
 * blob and archive verified, files on the disk, mark written.
 */
export class LayerFetcher {
  readonly #options: LayerFetcherOptions;
  readonly #flights = new Flights<LayerRecord>();
  readonly #locks = new KeyedLock();
  readonly #slots: Semaphore;
  readonly #progress = new Map<string, SharedProgress>();

  constructor(options: LayerFetcherOptions) {
    this.#options = options;
    this.#slots = new Semaphore(options.downloads);
  }

  /** Some layers will be wanted soon. */
  prepare(layers: number): void {
    this.#options.pool.warm(layers);
  }

  /** Answers the layer, fetched if it is not there. */
  async ensure(request: LayerRequest, signal: AbortSignal): Promise<LayerRecord> {
    for (;;) {
      const known = this.#find(request);
      if (known !== undefined) return known;
      let mine = false;
      try {
        const record = await this.#flights.join(request.chainId, signal, (all) => {
          mine = true;
          return this.#fetch(request, all);
        });
        if (this.#hold(request, record)) return record;
      } catch (error) {
        // Somebody else's source failed: this pull's own may not.
        if (mine || signal.aborted) throw error;
      }
    }
  }

  progressOf({ descriptor, diffId, chainId }: DescribedLayer): LayerProgress {
    const { digest, size } = descriptor;
    if (this.#options.layers.find(diffId, chainId) !== undefined) {
      return { digest, size, downloaded: size, unpacked: size };
    }
    const progress = this.#progress.get(digest);
    const downloaded = Math.min(progress?.available ?? 0, size);
    return { digest, size, downloaded, unpacked: Math.min(progress?.consumed ?? 0, size) };
  }

  /** Resolves when nothing is under way. */
  landed(): Promise<void> {
    return this.#flights.landed();
  }

  #find(request: LayerRequest): LayerRecord | undefined {
    const record = this.#options.layers.find(request.diffId, request.chainId);
    if (record !== undefined) this.#hold(request, record);
    return record;
  }

  /** False if the layer was collected before anybody held it. */
  #hold({ owner }: LayerRequest, record: LayerRecord): boolean {
    this.#options.layers.hold(owner, [record.id]);
    return this.#options.layers.get(record.id) !== undefined;
  }

  async #fetch(request: LayerRequest, signal: AbortSignal): Promise<LayerRecord> {
    const { digest, size } = request.descriptor;
    return span('image.layer', { digest, size }, async () => {
      const fetched = await this.#fetchAlone(request, signal);
      if ('record' in fetched) return fetched.record;
      try {
        return await this.#settle(request, fetched.id, fetched.layer, signal);
      } catch (error) {
        await this.#options.layers.discard(this.#options.layout.layer(fetched.id));
        throw error;
      }
    });
  }

  /**
   * Fetches a layer while nobody else fetches the same blob or archive. One that fits
   * anywhere is committed before others get their turn, so that they find it.
   */
  async #fetchAlone(request: LayerRequest, signal: AbortSignal): Promise<Fetched> {
    using _blob = await this.#options.blobs.exclusive(request.descriptor.digest, signal);
    using _archive = await this.#locks.acquire(request.diffId, signal);
    const known = this.#find(request);
    if (known !== undefined) return { record: known };
    const { id, layer } = await this.#fetchTrusted(request, signal);
    if (dependsOnBelow(layer)) return { id, layer };
    return { record: await this.#commit(request, id, layer, undefined) };
  }

  /** Fetches again what had wrong content: resumed downloads from their start, then from other endpoints. */
  async #fetchTrusted(request: LayerRequest, signal: AbortSignal): Promise<Unpacked> {
    const { digest } = request.descriptor;
    const skip = new Set<Endpoint>();
    let loss: unknown;
    for (let attempt = 1; ; attempt++) {
      const origin: Origin = { resumed: false, endpoint: undefined };
      const skipped = skip.size;
      try {
        return await this.#fetchOnce(request, { skip, origin, signal });
      } catch (error) {
        // Nobody is left to ask: what was wrong before is the reason.
        if (loss !== undefined && codeOf(error) === 'FAILED_PRECONDITION') throw loss;
        if (codeOf(error) !== 'DATA_LOSS' || attempt === CONTENT_ATTEMPTS) throw error;
        signal.throwIfAborted();
        loss = error;
        await this.#options.blobs.dropPartial(digest);
        if (origin.resumed || skip.size > skipped) continue;
        if (origin.endpoint === undefined) throw error;
        skip.add(origin.endpoint);
        this.#options.logger.warn(
          { digest, endpoint: origin.endpoint.url, error },
          'wrong content',
        );
      }
    }
  }

  async #fetchOnce(
    request: LayerRequest,
    { skip, origin, signal }: { skip: Set<Endpoint>; origin: Origin; signal: AbortSignal },
  ): Promise<Unpacked> {
    const { layout, layers, blobs } = this.#options;
    const { descriptor, source } = request;
    using _lane = await request.lane.acquire(signal);
    const slot = await this.#slots.acquire(signal);
    using _slot = slot;
    const progress = new SharedProgress();
    const id = layers.newId();
    await using partial = await blobs.openPartial(descriptor.digest, descriptor.size, progress);
    origin.resumed = partial.resumedAt > 0;
    this.#progress.set(descriptor.digest, progress);
    const fetch = async (both: AbortSignal) => {
      origin.endpoint = await source.blob(descriptor, partial, { signal: both, skip });
      await partial.flush();
    };
    const { digest, size } = descriptor;
    const download = async (both: AbortSignal) => {
      try {
        await span('image.download', { digest, size, from: partial.resumedAt }, () => fetch(both));
        faultPoint('pull/blob downloaded');
        progress.finish();
        slot[Symbol.dispose]();
      } catch (error) {
        progress.abandon();
        throw error;
      }
    };
    try {
      const unpack = (both: AbortSignal) =>
        span('image.unpack', { digest }, () => this.#unpack(request, id, progress, both));
      const layer = await together(signal, download, unpack);
      faultPoint('pull/layer unpacked');
      return { id, layer };
    } catch (error) {
      await layers.discard(layout.layer(id));
      throw error;
    } finally {
      this.#progress.delete(descriptor.digest);
    }
  }

  #unpack(
    { descriptor, diffId, file }: LayerRequest,
    id: string,
    progress: SharedProgress,
    signal: AbortSignal,
  ): Promise<WrittenLayer> {
    const { layout, pool, limits, refuseDevices } = this.#options;
    const { digest, size } = descriptor;
    const [blob, directory] = [layout.partialBlob(digest), layout.layer(id)];
    const job = { blob, size, digest, diffId, file, directory, limits, refuseDevices };
    return pool.unpack(job, progress, signal);
  }

  /** Completes a layer that depends on those below it, and commits it for this chain only. */
  async #settle(
    request: LayerRequest,
    id: string,
    layer: WrittenLayer,
    signal: AbortSignal,
  ): Promise<LayerRecord> {
    const { layout, pool } = this.#options;
    const below = (await request.below()).toReversed();
    signal.throwIfAborted();
    const { added, opaqueRoot } = await pool.perform('settle', {
      directory: layout.layer(id),
      implied: layer.implied,
      impliedAnew: layer.impliedAnew,
      foreignLinks: layer.foreignLinks,
      whiteouts: layer.whiteouts,
      below: visible(below).map((record) => layout.layer(record.id)),
    });
    const settled = {
      ...layer,
      bytes: layer.bytes + added.bytes,
      inodes: layer.inodes + added.inodes,
      opaqueRoot: layer.opaqueRoot || opaqueRoot,
    };
    return this.#commit(request, id, settled, request.chainId);
  }

  async #commit(
    request: LayerRequest,
    id: string,
    layer: WrittenLayer,
    chainId: string | undefined,
  ): Promise<LayerRecord> {
    const { layers, blobs, keepBlobs } = this.#options;
    const { digest } = request.descriptor;
    const record: LayerRecord = {
      version: 1,
      id,
      diffId: request.diffId,
      ...(chainId === undefined ? {} : { chainId }),
      bytes: layer.bytes,
      inodes: layer.inodes,
      ...(layer.rootAttributes === undefined ? {} : { rootAttributes: layer.rootAttributes }),
      opaqueRoot: layer.opaqueRoot,
    };
    layers.hold(request.owner, [id]);
    await layers.commit(record);
    faultPoint('pull/layer committed');
    if (keepBlobs) await blobs.promote(digest);
    else await blobs.dropPartial(digest);
    return record;
  }
}

interface Unpacked {
  id: string;
  layer: WrittenLayer;
}

/** A layer that is there, or one that still has to be completed with those below it. */
type Fetched = { record: LayerRecord } | Unpacked;

/** Where the content of one attempt came from. */
interface Origin {
  resumed: boolean;
  endpoint: Endpoint | undefined;
}
