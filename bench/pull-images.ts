import { type Dirent, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { buildImage, digestOf, type FixtureLayer, pushImage } from '../test/fixtures/image.ts';
import type { RegistryFixture } from '../test/fixtures/registry.ts';
import { type TarFixtureEntry, tar } from '../test/fixtures/tar.ts';

const LAYERS = 6;
const SMALL_FILES = 20_000;
/** Bytes: one huge file would make the layers uneven. */
const LARGEST_FILE = 16e6;

export interface PullImage {
  reference: string;
  /** Bytes packed and unpacked. */
  packed: number;
  unpacked: number;
}

/** Pushes an image of six layers with files of this host's /usr, `bytes` unpacked. */
export async function pushLayers(registry: RegistryFixture, bytes: number): Promise<PullImage> {
  return push(registry, 'layers', filesOfHost(bytes, LAYERS));
}

/** The archive of one layer with files of this host's /usr, of `bytes` together. */
export function layerOfHost(bytes: number): Buffer {
  return tar(filesOfHost(bytes, 1).flat());
}

function filesOfHost(bytes: number, layers: number): TarFixtureEntry[][] {
  const groups: TarFixtureEntry[][] = Array.from({ length: layers }, () => []);
  let total = 0;
  for (const { path, content } of hostFiles('/usr')) {
    groups[Math.floor((total / bytes) * layers)]?.push({ path: path.slice(1), content });
    total += content.length;
    if (total >= bytes) break;
  }
  return groups;
}

/** Pushes an image of one layer with 20,000 files of 200 to 4,300 bytes in 400 directories. */
export async function pushSmallFiles(registry: RegistryFixture): Promise<PullImage> {
  const text = readFileSync(process.execPath).subarray(0, 16 << 20);
  const entries: TarFixtureEntry[] = [];
  for (let index = 0; index < SMALL_FILES; index++) {
    const directory = `app/part-${index % 20}/section-${index % 400}`;
    const start = (index * 7919) % (text.length - 8192);
    const content = text.subarray(start, start + 200 + ((index * 2654435761) % 4096));
    entries.push({ path: `${directory}/file-${index}.js`, content });
  }
  return push(registry, 'files', [entries]);
}

/** Regular files below a directory, always in the same order, but for huge ones and links. */
function* hostFiles(directory: string): Generator<{ path: string; content: Buffer }> {
  for (const entry of entriesOf(directory)) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* hostFiles(path);
    else if (entry.isFile() && lstatSync(path).size <= LARGEST_FILE) {
      yield { path, content: readFileSync(path) };
    }
  }
}

function entriesOf(directory: string): Dirent[] {
  const entries = readdirSync(directory, { withFileTypes: true });
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function push(
  { host, url }: RegistryFixture,
  repository: string,
  groups: readonly TarFixtureEntry[][],
): Promise<PullImage> {
  const archives = groups.map((entries) => tar(entries));
  const layers = await Promise.all(archives.map(pack));
  await pushImage({ url, repository }, '1', buildImage({ layers }));
  return {
    reference: `${host}/${repository}:1`,
    packed: layers.reduce((sum, { blob }) => sum + blob.length, 0),
    unpacked: archives.reduce((sum, { length }) => sum + length, 0),
  };
}

/** With the level that image builders use, unlike the quick one of the tests. */
async function pack(archive: Buffer): Promise<FixtureLayer> {
  const blob = await promisify(gzip)(archive);
  const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip';
  return {
    blob,
    descriptor: { mediaType, digest: digestOf(blob), size: blob.length },
    diffId: digestOf(archive),
  };
}
