import { Flights, faultPoint, KeyedLock, span } from '../../base/index.ts';
import type { DescribedLayer } from './image-description.ts';
import { dependsOnBelow, type WrittenLayer } from './layer-files.ts';
import { type LayerRecord, visible } from './layer-store.ts';
import {
  type LayerRequest,
  type LayerTransferOptions,
  LayerTransfers,
  type Unpacked,
} from './layer-transfers.ts';

export interface LayerFetcherOptions extends LayerTransferOptions {
  /** Keep layers packed too after they are unpacked. */
  keepBlobs: boolean;
}

/** How far one layer is. */
export interface LayerProgress {
  digest: string;
  /** Bytes of the blob. */
  size: number;
  downloaded: number;
  unpacked: number;
}

/**
 * Has layers fetched, each once however many pulls want it at the same time. A layer counts
 * only once it is committed: blob and archive verified, files on the disk, mark written.
 */
export class LayerFetcher {
  readonly #options: LayerFetcherOptions;
  readonly #flights = new Flights<LayerRecord>();
  readonly #locks = new KeyedLock();
  readonly #transfers: LayerTransfers;

  constructor(options: LayerFetcherOptions) {
    this.#options = options;
    this.#transfers = new LayerTransfers(options);
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
    const progress = this.#transfers.progressOf(digest);
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
    const { id, layer } = await this.#transfers.fetch(request, signal);
    if (dependsOnBelow(layer)) return { id, layer };
    return { record: await this.#commit(request, id, layer, undefined) };
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
    request.onComplete(record);
    // Before all is flushed to the disk: what is gone then need not be written to it.
    if (!keepBlobs) await blobs.dropPartial(digest);
    await layers.commit(record);
    faultPoint('pull/layer committed');
    if (keepBlobs) await blobs.promote(digest);
    return record;
  }
}

/** A layer that is there, or one that still has to be completed with those below it. */
type Fetched = { record: LayerRecord } | Unpacked;
