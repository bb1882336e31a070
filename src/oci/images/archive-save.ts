import { createReadStream } from 'node:fs';
import { KeelsonError, messageOf } from '../../base/index.ts';
import type { Credentials, Endpoint, RegistryClient } from '../registry/index.ts';
import {
  type Descriptor,
  layerKind,
  MEDIA_TYPE,
  parseDigest,
  parseManifest,
  parseReference,
} from '../spec/index.ts';
import type { BlobStore } from './blob-store.ts';
import type { StoredImage } from './image-records.ts';
import { SharedProgress } from './shared-progress.ts';
import { fileHeader, filePadding, TAR_END } from './tar-writer.ts';
import type { UnpackPool } from './unpack-pool.ts';

export interface SaveOptions {
  /** `oci`: an OCI image layout. `docker`: what `docker load` reads. Default `oci`. */
  format?: 'oci' | 'docker';
  /** For layers that are not kept packed and must be fetched again. */
  credentials?: Credentials;
  signal: AbortSignal;
}

export interface SaveParts {
  blobs: BlobStore;
  pool: UnpackPool;
  client: RegistryClient;
}

interface SavedImage {
  image: StoredImage;
  manifest: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>;
  config: Descriptor;
  layers: Descriptor[];
}

const READ_SIZE = 1024 * 1024;

/**
 * Writes images as an archive, piece by piece. Layers that are only here unpacked are
 * fetched again from where the image was pulled: an archive must have their very bytes.
 */
export async function* saveArchive(
  images: readonly StoredImage[],
  parts: SaveParts,
  options: SaveOptions,
): AsyncGenerator<Buffer> {
  const saved: SavedImage[] = [];
  for (const image of images) saved.push(await describe(image, parts));
  const digests = new Set(
    saved.flatMap(({ manifest, config, layers }) =>
      [manifest, config, ...layers].map(({ digest }) => digest),
    ),
  );
  using _held = parts.blobs.hold([...digests]);
  for (const item of saved) await fetchMissing(item, parts, options);
  const documents = options.format === 'docker' ? dockerDocuments(saved) : layoutDocuments(saved);
  for (const [name, value] of documents) {
    const content = Buffer.from(JSON.stringify(value));
    yield Buffer.concat([fileHeader(name, content.length), content, filePadding(content.length)]);
  }
  for (const digest of digests) {
    options.signal.throwIfAborted();
    const size = parts.blobs.sizeOf(digest) ?? 0;
    yield fileHeader(blobName(digest), size);
    yield* createReadStream(parts.blobs.path(digest), { highWaterMark: READ_SIZE });
    yield filePadding(size);
  }
  yield TAR_END;
}

async function describe(image: StoredImage, { blobs }: SaveParts): Promise<SavedImage> {
  const content = await blobs.read(image.manifest);
  const document = content && parseManifest(content, undefined);
  if (content === undefined || document?.kind !== 'manifest') {
    throw new KeelsonError('DATA_LOSS', `Cannot save image "${image.id}"`, {
      reason: 'its manifest is not there',
    });
  }
  const { manifest } = document;
  const foreign = manifest.layers.find(({ mediaType }) => layerKind(mediaType) === 'foreign');
  if (foreign !== undefined) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot save image "${image.id}"`, {
      reason: `layer "${foreign.digest}" may not be distributed`,
    });
  }
  return {
    image,
    manifest: {
      mediaType: manifest.mediaType ?? MEDIA_TYPE.ociManifest,
      digest: image.manifest,
      size: content.length,
    },
    config: manifest.config,
    layers: manifest.layers,
  };
}

async function fetchMissing(
  item: SavedImage,
  parts: SaveParts,
  options: SaveOptions,
): Promise<void> {
  for (const descriptor of [item.config, ...item.layers]) {
    if (!parts.blobs.has(descriptor.digest))
      await fetchBlob(item.image, descriptor, parts, options);
  }
}

async function fetchBlob(
  image: StoredImage,
  descriptor: Descriptor,
  { blobs, pool, client }: SaveParts,
  { credentials, signal }: SaveOptions,
): Promise<void> {
  const { digest, size } = descriptor;
  const action = `Cannot save image "${image.id}"`;
  using _ = await blobs.exclusive(digest, signal);
  if (blobs.has(digest)) return;
  let last: unknown;
  for (const name of image.digests) {
    try {
      const repository = await client.open(parseReference(name), credentials);
      const partial = await blobs.openPartial(digest, size, new SharedProgress());
      try {
        await repository.blob(descriptor, partial, { signal, skip: new Set<Endpoint>() });
        await partial.flush();
      } finally {
        await partial[Symbol.asyncDispose]();
      }
      const { algorithm } = parseDigest(digest);
      const path = blobs.partialPath(digest);
      const actual = await pool.perform('hash', { path, offset: 0, size, algorithm }, signal);
      if (actual === digest) return await blobs.promote(digest);
      await blobs.dropPartial(digest);
      last = new KeelsonError('DATA_LOSS', action, {
        reason: `"${digest}" is served as ${actual}`,
      });
    } catch (error) {
      signal.throwIfAborted();
      last = error;
    }
  }
  throw new KeelsonError('FAILED_PRECONDITION', action, {
    reason: `layer "${digest}" is not kept packed, and fetching it again failed${last === undefined ? '' : `: ${messageOf(last)}`}`,
    hint: 'set images.keep_blobs, and pull the image again',
    ...(last === undefined ? {} : { cause: last }),
  });
}

function layoutDocuments(saved: readonly SavedImage[]): [name: string, value: unknown][] {
  const manifests = saved.flatMap(({ image, manifest }) => {
    const names = image.tags.map(({ name }) => ({
      ...manifest,
      annotations: {
        'io.containerd.image.name': name,
        'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
      },
    }));
    return names.length === 0 ? [manifest] : names;
  });
  return [
    ['oci-layout', { imageLayoutVersion: '1.0.0' }],
    ['index.json', { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests }],
  ];
}

function dockerDocuments(saved: readonly SavedImage[]): [name: string, value: unknown][] {
  const list = saved.map(({ image, config, layers }) => ({
    Config: blobName(config.digest),
    RepoTags: image.tags.map(({ name }) => name),
    Layers: layers.map(({ digest }) => blobName(digest)),
  }));
  return [['manifest.json', list]];
}

function blobName(digest: string): string {
  const { algorithm, hex } = parseDigest(digest);
  return `blobs/${algorithm}/${hex}`;
}
