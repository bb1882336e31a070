import { KeelsonError } from '../../base/index.ts';
import type { BlobSink, Endpoint, ServedManifest } from '../registry/index.ts';
import {
  chainIds,
  type Descriptor,
  digestOf,
  type ImageConfig,
  type ImageManifest,
  isImageConfigType,
  layerKind,
  MEDIA_TYPE,
  normalisePlatform,
  type Platform,
  parseDigest,
  parseImageConfig,
  parseManifest,
  platformRank,
} from '../spec/index.ts';
import { candidatesOf, MAX_INDEX_DEPTH, noneFits } from './platform-choice.ts';

/** Where an image's parts come from: a repository of a registry, or an archive. */
export interface ImageSource {
  manifest(tagOrDigest: string, signal: AbortSignal): Promise<ServedManifest>;
  smallBlob(descriptor: Descriptor, limit: number, signal: AbortSignal): Promise<Buffer>;
  blob(
    descriptor: Descriptor,
    sink: BlobSink,
    options: { signal: AbortSignal; skip: Set<Endpoint> },
  ): Promise<Endpoint | undefined>;
}

/** What becomes of an image with layers that registries may not distribute. */
export type ForeignLayers = 'refuse' | 'skip';

export interface DescribedLayer {
  descriptor: Descriptor;
  /** The digest of the archive inside; for a file, made up of its digest and its name. */
  diffId: string;
  chainId: string;
  /** The blob is not an archive but the content of this file, a path without `..`. */
  file?: string;
}

/** All that is known of an image before its layers are fetched. */
export interface ImageDescription {
  kind: 'image' | 'artifact';
  id: string;
  manifest: { digest: string; content: Buffer; value: ImageManifest };
  config: { digest: string; content: Buffer; value: ImageConfig | undefined };
  /** Base first. Each file of an artifact is a layer of its own. */
  layers: DescribedLayer[];
  /** Digests of foreign layers, which the image is made without. */
  skipped: string[];
}

/** The largest configuration that is read. */
const MAX_CONFIG = 8 * 1024 * 1024;
/** Manifests that are read to find the one for this platform. */
const MAX_MANIFESTS = 50;

export interface DescribeOptions {
  source: ImageSource;
  /** Told how many layers there are as soon as that is known. */
  onLayers?: (count: number) => void;
  platform: Platform;
  foreignLayers: ForeignLayers;
  signal: AbortSignal;
}

/**
 * Finds the image for a platform from what a registry serves for a name, and reads its
 * manifest and configuration. Follows indexes within indexes, to a limit, so that a loop
 * of them ends.
 */
export async function describeImage(
  served: ServedManifest,
  options: DescribeOptions,
): Promise<ImageDescription> {
  const budget = { manifests: MAX_MANIFESTS };
  const described = await choose(served, options, { depth: 0, budget, sure: true });
  if (described !== undefined) return described;
  throw new KeelsonError('NOT_FOUND', 'Cannot choose an image from an index', {
    reason: 'none of its entries is for this platform',
  });
}

interface Progress {
  depth: number;
  budget: { manifests: number };
  /** Whether the platform is known to fit, or nothing else is on offer. */
  sure: boolean;
}

async function choose(
  served: ServedManifest,
  options: DescribeOptions,
  progress: Progress,
): Promise<ImageDescription | undefined> {
  const document = parseManifest(served.content, served.mediaType);
  if (document.kind === 'manifest') {
    return describeManifest(served, document.manifest, options, progress.sure);
  }
  if (progress.depth >= MAX_INDEX_DEPTH) throw malformed('its indexes are nested too deeply');
  const { source, platform, signal } = options;
  const candidates = candidatesOf(document.index, platform);
  if (candidates.length === 0 && progress.depth === 0) throw noneFits(document.index, platform);
  for (const candidate of candidates) {
    if (progress.budget.manifests-- <= 0) throw malformed('its indexes have too many entries');
    const inner = await source.manifest(candidate.digest, signal);
    if (inner.content.length !== candidate.size)
      throw malformed('a manifest has another size than stated');
    const found = await choose({ ...inner, mediaType: candidate.mediaType }, options, {
      ...progress,
      depth: progress.depth + 1,
      sure: candidate.platform !== undefined,
    });
    if (found !== undefined) return found;
  }
  return undefined;
}

async function describeManifest(
  served: ServedManifest,
  manifest: ImageManifest,
  { source, platform, foreignLayers, signal, onLayers }: DescribeOptions,
  sure: boolean,
): Promise<ImageDescription | undefined> {
  if (sure) onLayers?.(manifest.layers.length);
  const kept = { digest: served.digest, content: served.content, value: manifest };
  const content = await source.smallBlob(manifest.config, MAX_CONFIG, signal);
  const config = { digest: manifest.config.digest, content };
  if (!isImageConfigType(manifest.config.mediaType)) {
    return {
      kind: 'artifact',
      id: served.digest,
      manifest: kept,
      config: { ...config, value: undefined },
      layers: artifactLayers(manifest),
      skipped: [],
    };
  }
  const value = parseImageConfig(content);
  if (!sure && platformRank(platform, normalisePlatform(value)) === undefined) return undefined;
  const { layers, skipped } = pairLayers(manifest, value, foreignLayers);
  return {
    kind: 'image',
    id: manifest.config.digest,
    manifest: kept,
    config: { ...config, value },
    layers,
    skipped,
  };
}

/** What tools that push files as artifacts name them by (image-spec annotations.md). */
const TITLE = 'org.opencontainers.image.title';

/** The files of an artifact. Those without a name have that of their digest. */
function artifactLayers(manifest: ImageManifest): DescribedLayer[] {
  const files = manifest.layers
    .filter(({ mediaType }) => mediaType !== MEDIA_TYPE.ociEmpty)
    .map((descriptor) => {
      const file = descriptor.annotations?.[TITLE] ?? parseDigest(descriptor.digest).hex;
      if (!isPlainPath(file)) {
        throw malformed(`${JSON.stringify(file.slice(0, 200))} cannot be the name of a file in it`);
      }
      return { descriptor, file };
    });
  if (files.length === 0) throw malformed('it is an artifact without files');
  const diffIds = files.map(({ descriptor, file }) =>
    digestOf(Buffer.from(`file ${descriptor.digest} ${file}`)),
  );
  const chain = chainIds(diffIds);
  return files.map((layer, index) => ({
    ...layer,
    diffId: diffIds[index] ?? '',
    chainId: chain[index] ?? '',
  }));
}

/** Whether a path stays within where it begins. */
function isPlainPath(path: string): boolean {
  const components = path.split('/');
  return (
    !path.includes('\0') &&
    components.every(
      (part) => part !== '' && part !== '.' && part !== '..' && !part.startsWith('.wh.'),
    )
  );
}

/** Layers are named twice: packed in the manifest, unpacked in the configuration. */
function pairLayers(
  manifest: ImageManifest,
  config: ImageConfig,
  foreignLayers: ForeignLayers,
): Pick<ImageDescription, 'layers' | 'skipped'> {
  const diffIds = config.rootfs.diff_ids;
  if (manifest.layers.length !== diffIds.length) {
    throw malformed(
      `its manifest has ${manifest.layers.length} layers and its configuration ${diffIds.length}`,
    );
  }
  const all = manifest.layers.map((descriptor, index) => ({
    descriptor,
    diffId: diffIds[index] ?? '',
    foreign: isForeign(descriptor),
  }));
  const skipped = all.filter(({ foreign }) => foreign).map(({ descriptor }) => descriptor.digest);
  if (foreignLayers === 'refuse' && skipped[0] !== undefined) throw refused(skipped[0]);
  const kept = all.filter(({ foreign }) => !foreign);
  // What is left is an image of its own: its layers must not be taken for ones that lie on the skipped.
  const chain = chainIds(kept.map(({ diffId }) => diffId));
  return {
    skipped,
    layers: kept.map(({ descriptor, diffId }, index) => ({
      descriptor,
      diffId,
      chainId: chain[index] ?? '',
    })),
  };
}

function isForeign({ mediaType, digest }: Descriptor): boolean {
  const kind = layerKind(mediaType);
  if (kind !== 'unknown') return kind === 'foreign';
  throw new KeelsonError('UNIMPLEMENTED', `Cannot use layer "${digest}"`, {
    reason: `its media type "${mediaType}" is not that of a file system layer`,
  });
}

function refused(digest: string): KeelsonError {
  return new KeelsonError('UNIMPLEMENTED', `Cannot use layer "${digest}"`, {
    reason: 'its content may not be distributed by registries',
    hint: 'images.foreign_layers of the configuration may say to go on without it',
  });
}

function malformed(reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', 'Cannot use image', { reason });
}
