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

/** Removes layers, blobs and partial downloads that nothing refers to. Safe beside pulls, which hold what they use. */
export async function collect(options: CollectionOptions): Promise<Collected> {
  const { records, layers, blobs, keepBlobs, partialLifetime } = options;
  const images = records.list();
  const liveLayers = new Set(images.flatMap((image) => image.layers.map(({ id }) => id)));
  const liveBlobs = new Set(
    images.flatMap((image) => [
      image.manifest,
      image.config,
      ...(keepBlobs ? image.layers.map(({ digest }) => digest) : []),
    ]),
  );
  return {
    layers: await layers.collect(liveLayers),
    blobs: await blobs.collect(liveBlobs),
    partial: await blobs.collectPartial(partialLifetime),
  };
}
