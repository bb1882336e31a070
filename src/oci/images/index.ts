export type { ArchiveInput } from './archive-load.ts';
export type { SaveOptions } from './archive-save.ts';
export type { Collected } from './collection.ts';
export type { ImageLayer, ImageRecord } from './image-record.ts';
export type { LayerProgress } from './layer-fetcher.ts';
export type { LayerLimits } from './layer-writer.ts';
export type { PullOptions } from './pull.ts';
export type { PullProgress } from './pull-progress.ts';
export { ImageStore, type ImageStoreOptions } from './store.ts';
