import type { BlobStore } from './blob-store.ts';
import type { ImageRecords } from './image-records.ts';
import type { LayerStore } from './layer-store.ts';

/** Bytes that became free. */
export interface Collected {
  layers: number;
  blobs: number;
  partial: number;
}

export interface CollectionOptions {
  records: ImageRecords;
  layers: LayerStore;
  blobs: BlobStore;
  keepBlobs: boolean;
  /** Milliseconds without growth after which a partial download is removed. */
  partialLifetime: number;
}

/**
 * Removes layers, blobs and partial downloads that nothing refers to. Safe beside pulls:
 * they hold what they use, and what is referred to is looked up when it counts.
 */
export async function collect(options: CollectionOptions): Promise<Collected> {
  const { records, layers, blobs, keepBlobs, partialLifetime } = options;
  const liveLayers = records.list().flatMap((image) => image.layers.map(({ id }) => id));
  const isLive = (digest: string) =>
    records
      .list()
      .some(
        (image) =>
          image.manifest === digest ||
          image.config === digest ||
          (keepBlobs && image.layers.some((layer) => layer.digest === digest)),
      );
  return {
    layers: await layers.collect(new Set(liveLayers)),
    blobs: await blobs.collect(isLive),
    partial: await blobs.collectPartial(partialLifetime),
  };
}
