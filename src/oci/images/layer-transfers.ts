import { codeOf, faultPoint, type Logger, Semaphore, span } from '../../base/index.ts';
import type { Endpoint } from '../registry/index.ts';
import type { BlobStore } from './blob-store.ts';
import type { DescribedLayer, ImageSource } from './image-description.ts';
import type { WrittenLayer } from './layer-files.ts';
import type { LayerRecord, LayerStore } from './layer-store.ts';
import type { LayerLimits } from './layer-writer.ts';
import type { Layout } from './layout.ts';
import { SharedProgress } from './shared-progress.ts';
import { together } from './together.ts';
import type { UnpackPool } from './unpack-pool.ts';

export interface LayerTransferOptions {
  layout: Layout;
  layers: LayerStore;
  blobs: BlobStore;
  pool: UnpackPool;
  logger: Logger;
  limits: LayerLimits;
  refuseDevices: boolean;
  /** Downloads at the same time, over all images. */
  downloads: number;
}

/** A layer with what it takes to have it. */
export interface LayerRequest extends DescribedLayer {
  source: ImageSource;
  /** Who holds the layer as soon as it is there. */
  owner: string;
  /** Lets so many layers of one image download at a time. */
  lane: Semaphore;
  /** The layers below, base first, once their files are complete. */
  below: () => Promise<LayerRecord[]>;
  /** Hears of the layer as soon as its files are complete, though they may not be on the disk. */
  onComplete: (layer: LayerRecord) => void;
}

/** A layer's files in a directory of their own, not committed yet. */
export interface Unpacked {
  id: string;
  layer: WrittenLayer;
}

/** Where the content of one attempt came from. */
interface Origin {
  resumed: boolean;
  endpoint: Endpoint | undefined;
}

/** Tries of a blob whose content was wrong: first what was resumed, then each endpoint anew. */
const CONTENT_ATTEMPTS = 4;

/**
 * Brings a layer's files here: a blob is unpacked while it is being downloaded. Whoever calls
 * sees to it that nobody else transfers the same blob.
 */
export class LayerTransfers {
  readonly #options: LayerTransferOptions;
  readonly #slots: Semaphore;
  readonly #progress = new Map<string, SharedProgress>();

  constructor(options: LayerTransferOptions) {
    this.#options = options;
    this.#slots = new Semaphore(options.downloads);
  }

  /** How far a blob is that is being transferred. */
  progressOf(digest: string): SharedProgress | undefined {
    return this.#progress.get(digest);
  }

  /** Fetches again what had wrong content: resumed downloads from their start, then from other endpoints. */
  async fetch(request: LayerRequest, signal: AbortSignal): Promise<Unpacked> {
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
}
