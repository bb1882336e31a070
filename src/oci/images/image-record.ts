import { KeelsonError } from '../../base/index.ts';
import { type ImageConfig, parseImageConfig } from '../spec/index.ts';
import type { BlobStore } from './blob-store.ts';
import type { StoredImage } from './image-records.ts';
import { type LayerRecord, type LayerStore, visible } from './layer-store.ts';

/** An image that is there, with all its layers. */
export interface ImageRecord {
  /** `sha256:` and the digest of its configuration; of its manifest for an artifact. */
  readonly id: string;
  readonly kind: 'image' | 'artifact';
  /** `docker.io/library/busybox:1.36`. Empty if it was pulled by digest or the tags moved on. */
  readonly repoTags: readonly string[];
  /** `docker.io/library/busybox@sha256:…`: what registries serve it as. */
  readonly repoDigests: readonly string[];
  /** Bytes on disk, shared layers included. */
  readonly size: number;
  readonly config: ImageConfig;
  readonly manifestDigest: string;
  /** Base first. */
  readonly layers: readonly ImageLayer[];
  /** Whether a kubelet must leave it alone. */
  readonly pinned: boolean;
  /** Milliseconds since 1970. */
  readonly pulledAt: number;
  /** Mode and owner of its root directory, for the upper directory of an overlay mount. */
  readonly root: { readonly mode: number; readonly uid: number; readonly gid: number };
}

export interface ImageLayer {
  readonly id: string;
  readonly diffId: string;
  /** The digest and size of the layer as registries serve it. */
  readonly digest: string;
  readonly size: number;
}

/** What an artifact has instead of a configuration. */
const NO_CONFIG: ImageConfig = parseImageConfig(
  Buffer.from('{"rootfs":{"type":"layers","diff_ids":[]}}'),
);
const DEFAULT_ROOT = { mode: 0o755, uid: 0, gid: 0 };

/** Makes image records of what is stored. Configurations are read once. */
export class ImageReader {
  readonly #blobs: BlobStore;
  readonly #layers: LayerStore;
  readonly #pinned: readonly RegExp[];
  readonly #configs = new Map<string, ImageConfig>();

  constructor(blobs: BlobStore, layers: LayerStore, pinned: readonly string[]) {
    this.#blobs = blobs;
    this.#layers = layers;
    this.#pinned = pinned.map(patternOf);
  }

  /** Makes sure that an image can be answered: its configuration is readable and its layers are there. */
  async load(image: StoredImage): Promise<void> {
    const missing = image.layers.find(({ id }) => this.#layers.get(id) === undefined);
    if (missing !== undefined) throw incomplete(image, `layer "${missing.id}" is not there`);
    const content = await this.#blobs.read(image.config);
    if (content === undefined) throw incomplete(image, 'its configuration is not there');
    if (!this.#blobs.has(image.manifest)) throw incomplete(image, 'its manifest is not there');
    this.#configs.set(image.id, image.kind === 'artifact' ? NO_CONFIG : parseImageConfig(content));
  }

  forget(id: string): void {
    this.#configs.delete(id);
  }

  read(image: StoredImage): ImageRecord {
    const layers = image.layers.flatMap(({ id }) => this.#layers.get(id) ?? []);
    const names = [...image.tags.map(({ name }) => name), ...image.digests];
    return {
      id: image.id,
      kind: image.kind,
      repoTags: image.tags.map(({ name }) => name),
      repoDigests: image.digests,
      size: Math.max(1, uniqueBytes(layers)),
      config: this.#configs.get(image.id) ?? NO_CONFIG,
      manifestDigest: image.manifest,
      layers: image.layers,
      pinned: this.#pinned.some((pattern) => names.some((name) => pattern.test(name))),
      pulledAt: image.since,
      root: rootOf(layers.toReversed()),
    };
  }
}

/** A layer that occurs twice in an image is on the disk once. */
function uniqueBytes(layers: readonly LayerRecord[]): number {
  return [...new Set(layers)].reduce((sum, { bytes }) => sum + bytes, 0);
}

function rootOf(topmostFirst: readonly LayerRecord[]): ImageRecord['root'] {
  const entries = visible(topmostFirst).flatMap(({ rootAttributes }) => rootAttributes ?? []);
  return entries[0] ?? DEFAULT_ROOT;
}

function incomplete(image: StoredImage, reason: string): KeelsonError {
  return new KeelsonError('DATA_LOSS', `Cannot use image "${image.id}"`, { reason });
}

/** A pattern of names: `*` stands for anything, `?` for one character. */
function patternOf(glob: string): RegExp {
  const source = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.');
  return new RegExp(`^${source}$`);
}
