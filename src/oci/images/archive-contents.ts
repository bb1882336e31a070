import { z } from 'zod';
import { KeelsonError } from '../../base/index.ts';
import type { ServedManifest } from '../registry/index.ts';
import {
  check,
  type Descriptor,
  digestOf,
  formatReference,
  MEDIA_TYPE,
  parseImageConfig,
  parseJson,
  parseManifest,
  parseReference,
} from '../spec/index.ts';
import type { ArchiveSource } from './archive-source.ts';
import type { HashJob } from './hash-file.ts';

/** An image of an archive, and the tags that the archive gives it. */
export interface ArchivedImage {
  manifest: ServedManifest;
  tags: string[];
}

/** Names that tools put on the entries of an OCI layout's index. */
const FULL_NAME = 'io.containerd.image.name';
const REF_NAME = 'org.opencontainers.image.ref.name';

const dockerSchema = z.array(
  z.object({
    Config: z.string(),
    RepoTags: z.array(z.string()).nullish(),
    Layers: z.array(z.string()).nullish(),
  }),
);

/** What an archive holds: by its OCI layout, or else by the `manifest.json` of `docker save`. */
export async function archivedImages(
  source: ArchiveSource,
  hash: (job: HashJob) => Promise<string>,
): Promise<ArchivedImage[]> {
  const index = await source.read('index.json');
  if (index !== undefined) return imagesOfLayout(index, source);
  const docker = await source.read('manifest.json');
  if (docker !== undefined) return imagesOfDockerSave(docker, source, hash);
  throw new KeelsonError('INVALID_ARGUMENT', 'Cannot use image archive', {
    reason: 'it has neither an "index.json" nor a "manifest.json"',
  });
}

async function imagesOfLayout(content: Buffer, source: ArchiveSource): Promise<ArchivedImage[]> {
  const document = parseManifest(content, MEDIA_TYPE.ociIndex);
  if (document.kind !== 'index') return [];
  // One image under two names is two entries with the same digest.
  const images = new Map<string, ArchivedImage>();
  for (const { digest, mediaType, annotations } of document.index.manifests) {
    const image = images.get(digest) ?? {
      manifest: { ...(await source.manifest(digest)), mediaType },
      tags: [],
    };
    image.tags.push(...tagsOf(annotations ?? {}));
    images.set(digest, image);
  }
  return [...images.values()];
}

/** A name of a tag alone says nothing of the repository, and names no image. */
function tagsOf(annotations: Record<string, string>): string[] {
  const name = annotations[FULL_NAME] ?? annotations[REF_NAME] ?? '';
  return /[/:]/.test(name) ? [normalise(name)] : [];
}

async function imagesOfDockerSave(
  content: Buffer,
  source: ArchiveSource,
  hash: (job: HashJob) => Promise<string>,
): Promise<ArchivedImage[]> {
  const list = check(dockerSchema, parseArray(content), 'the manifest of the archive');
  const images: ArchivedImage[] = [];
  for (const { Config, Layers, RepoTags } of list) {
    const manifest = await makeManifest(Config, Layers ?? [], source, hash);
    source.addManifest(manifest);
    images.push({ manifest, tags: (RepoTags ?? []).map(normalise) });
  }
  return images;
}

function parseArray(content: Buffer): unknown {
  // The document is a list; the reader of documents wants an object.
  const wrapped = Buffer.concat([Buffer.from('{"list":'), content, Buffer.from('}')]);
  const value = parseJson(wrapped, 'the manifest of the archive');
  return 'list' in value ? value.list : undefined;
}

/** `docker save` has no manifest in a registry's sense: it is made from what is there. */
async function makeManifest(
  configName: string,
  layerNames: readonly string[],
  source: ArchiveSource,
  hash: (job: HashJob) => Promise<string>,
): Promise<ServedManifest> {
  const configPlace = source.locate(configName);
  const config = (await source.read(configName)) ?? Buffer.alloc(0);
  parseImageConfig(config);
  const configDigest = digestOf(config);
  source.addBlob(configDigest, configName);
  const layers: Partial<Descriptor>[] = [];
  for (const name of layerNames) {
    const place = source.locate(name);
    const digest = await hash({ ...place, algorithm: 'sha256' });
    source.addBlob(digest, name);
    layers.push({ mediaType: MEDIA_TYPE.dockerLayer, digest, size: place.size });
  }
  const content = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.dockerManifest,
      config: { mediaType: MEDIA_TYPE.dockerConfig, digest: configDigest, size: configPlace.size },
      layers,
    }),
  );
  return { mediaType: MEDIA_TYPE.dockerManifest, digest: digestOf(content), content };
}

function normalise(name: string): string {
  const { domain, path, tag } = parseReference(name);
  return formatReference({ domain, path, tag: tag ?? 'latest', digest: undefined });
}
