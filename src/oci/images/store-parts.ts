import { chmod, mkdir, readdir, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../base/index.ts';
import { RegistryClient, type RegistryOptions } from '../registry/index.ts';
import { hostPlatform, type Platform } from '../spec/index.ts';
import { BlobStore } from './blob-store.ts';
import type { Gunzip } from './decompress.ts';
import { DiskFlush } from './disk-flush.ts';
import type { ForeignLayers } from './image-description.ts';
import { ImageReader } from './image-record.ts';
import { ImageRecords } from './image-records.ts';
import { LayerFetcher } from './layer-fetcher.ts';
import { LayerStore } from './layer-store.ts';
import type { LayerLimits } from './layer-writer.ts';
import { Layout } from './layout.ts';
import { Puller } from './pull.ts';
import { setAside } from './stored-json.ts';
import { UnpackPool } from './unpack-pool.ts';

export interface ImageStoreOptions {
  /** The directory that everything lies below, see `Layout`. */
  root: string;
  logger: Logger;
  registry: RegistryOptions;
  /** What images are chosen for. Default: this machine. */
  platform?: Platform;
  /** Layers of one image that download at the same time. Default 3. */
  parallelLayers?: number;
  /** Layers of all images that download at the same time. Default 8. */
  parallelDownloads?: number;
  /** Threads that unpack. Default: one for each core, four at most. */
  unpackers?: number;
  /** What decompresses gzip. Default `auto`. */
  gunzip?: Gunzip;
  /** Keep layers packed too, so that they can be saved without the registry. Default false. */
  keepBlobs?: boolean;
  /** Patterns (`*` and `?`) of references that a kubelet must not remove. */
  pinned?: readonly string[];
  /** What becomes of images with layers that registries may not distribute. Default `refuse`. */
  foreignLayers?: ForeignLayers;
  /** Refuse layers with device nodes. Default false. */
  refuseDevices?: boolean;
  limits?: Partial<LayerLimits>;
  /** Milliseconds after which an abandoned download is given up for good. Default one day. */
  partialLifetime?: number;
}

const DEFAULT_LIMITS: LayerLimits = { bytes: 64 * 1024 ** 3, entries: 4_000_000 };

/** Parts of the store, made in the order in which they need each other. */
export interface StoreParts {
  layout: Layout;
  client: RegistryClient;
  pool: UnpackPool;
  disk: DiskFlush;
  blobs: BlobStore;
  layers: LayerStore;
  records: ImageRecords;
  reader: ImageReader;
  fetcher: LayerFetcher;
  puller: Puller;
  limits: LayerLimits;
}

/** Opens the parts of a store, and repairs what a crash left. */
export async function openParts(options: ImageStoreOptions): Promise<StoreParts> {
  const { logger } = options;
  const layout = await makeDirectories(options.root);
  const pool = new UnpackPool({
    gunzip: options.gunzip ?? 'auto',
    ...(options.unpackers === undefined ? {} : { size: options.unpackers }),
  });
  await emptySpool(layout);
  const blobs = await BlobStore.open(layout);
  const disk = await DiskFlush.open(layout.layers);
  const layers = await LayerStore.open({ layout, pool, disk, logger });
  const records = await ImageRecords.open(layout, logger);
  const reader = new ImageReader(blobs, layers, options.pinned ?? []);
  await setAsideUnusable(records, reader, { layout, logger });
  const client = new RegistryClient(options.registry, logger);
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const fetcher = new LayerFetcher({
    layout,
    layers,
    blobs,
    pool,
    logger,
    limits,
    refuseDevices: options.refuseDevices ?? false,
    keepBlobs: options.keepBlobs ?? false,
    downloads: options.parallelDownloads ?? 8,
  });
  const puller = new Puller({
    client,
    records,
    reader,
    layers,
    blobs,
    fetcher,
    logger,
    platform: options.platform ?? hostPlatform(),
    foreignLayers: options.foreignLayers ?? 'refuse',
    parallelLayers: options.parallelLayers ?? 3,
  });
  return { layout, client, pool, disk, blobs, layers, records, reader, fetcher, puller, limits };
}

/**
 * Makes the directories, for root alone: what is in layers may be set-uid, or have been
 * taken from others for a reason. Answers them with the real path of the root.
 */
async function makeDirectories(root: string): Promise<Layout> {
  await mkdir(root, { recursive: true, mode: 0o711 });
  const layout = new Layout(await realpath(root));
  for (const directory of layout.directories) {
    await mkdir(directory, { recursive: true });
    await chmod(directory, 0o700);
  }
  return layout;
}

/** Archives whose loading did not end. */
async function emptySpool(layout: Layout): Promise<void> {
  for (const name of await readdir(layout.spool)) {
    await rm(join(layout.spool, name), { force: true });
  }
}

/** Takes records out of the way whose images are not whole. */
async function setAsideUnusable(
  records: ImageRecords,
  reader: ImageReader,
  options: { layout: Layout; logger: Logger },
): Promise<void> {
  for (const image of records.list()) {
    try {
      await reader.load(image);
    } catch (error) {
      records.drop(image.id);
      await setAside(records.path(image.id), error, options);
    }
  }
}
