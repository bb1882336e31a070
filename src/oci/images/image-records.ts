import { rm } from 'node:fs/promises';
import { z } from 'zod';
import {
  faultPoint,
  KeelsonError,
  type Logger,
  Semaphore,
  syncDirectory,
  writeFileAtomic,
} from '../../base/index.ts';
import { isDigest, type Reference, repositoryOf } from '../spec/index.ts';
import type { Layout } from './layout.ts';
import { readRecords } from './stored-json.ts';

const digest = () => z.string().refine(isDigest, 'not a digest');

const imageSchema = z.object({
  version: z.literal(1),
  kind: z.enum(['image', 'artifact']),
  /** The digest of the configuration; of the manifest for an artifact, whose configuration is empty. */
  id: digest(),
  manifest: digest(),
  config: digest(),
  /** Tags and when they came to mean this image, in milliseconds since 1970. */
  tags: z.array(z.object({ name: z.string(), since: z.number() })),
  /** `domain/path@digest`: what registries served it as, index or manifest. */
  digests: z.array(z.string()),
  /** Base first. */
  layers: z.array(
    z.object({ id: z.string(), diffId: digest(), digest: digest(), size: z.number() }),
  ),
  /** When the image was first had, in milliseconds since 1970. */
  since: z.number(),
});

/** An image on disk. */
export type StoredImage = z.output<typeof imageSchema>;

/** The shortest beginning of an id that finds an image. */
const MIN_PREFIX = 4;

/** The images by id and by their names, kept on disk. */
export class ImageRecords {
  readonly #layout: Layout;
  readonly #images = new Map<string, StoredImage>();
  readonly #tags = new Map<string, string>();
  readonly #digests = new Map<string, string>();
  readonly #changing = new Semaphore(1);

  private constructor(layout: Layout) {
    this.#layout = layout;
  }

  static async open(layout: Layout, logger: Logger): Promise<ImageRecords> {
    const records = new ImageRecords(layout);
    const images = await readRecords(layout.records, imageSchema, { layout, logger });
    for (const image of images) records.#images.set(image.id, image);
    records.#reindex();
    return records;
  }

  list(): StoredImage[] {
    return [...this.#images.values()];
  }

  get(id: string): StoredImage | undefined {
    return this.#images.get(id);
  }

  /** Finds an image by its whole id, with or without `sha256:`. */
  findById(id: string): StoredImage | undefined {
    return this.#images.get(id) ?? this.#images.get(`sha256:${id}`);
  }

  /** Finds an image by the beginning of its id. Fails with INVALID_ARGUMENT if several begin so. */
  findByPrefix(text: string): StoredImage | undefined {
    const hex = text.startsWith('sha256:') ? text.slice('sha256:'.length) : text;
    if (!/^[0-9a-f]+$/.test(hex) || hex.length < MIN_PREFIX) return undefined;
    const found = this.list().filter(({ id }) => id.startsWith(`sha256:${hex}`));
    if (found.length > 1) throw ambiguous(text);
    return found[0];
  }

  /** Finds the image that has a name. With tag and digest the digest decides. */
  findByName(reference: Reference): StoredImage | undefined {
    if (reference.digest !== undefined) {
      const image = this.findByDigest(reference.digest);
      const name = `${repositoryOf(reference)}@${reference.digest}`;
      return image?.digests.includes(name) ? image : undefined;
    }
    const id = this.#tags.get(`${repositoryOf(reference)}:${reference.tag}`);
    return id === undefined ? undefined : this.#images.get(id);
  }

  /** The image that a registry served under this digest, whatever the repository. */
  findByDigest(digest: string): StoredImage | undefined {
    const id = this.#digests.get(digest);
    return id === undefined ? undefined : this.#images.get(id);
  }

  /**
   * Changes the image of an id, or makes it: `change` is given what is there now and
   * answers what shall be, or undefined to leave it. Tags that the image has then are
   * taken from others. One change after the other.
   */
  async change(
    id: string,
    change: (
      now: StoredImage | undefined,
    ) => Promise<StoredImage | undefined> | StoredImage | undefined,
  ): Promise<boolean> {
    using _ = await this.#changing.acquire();
    const image = await change(this.#images.get(id));
    if (image === undefined) return false;
    await this.#put(image);
    return true;
  }

  async #put(image: StoredImage): Promise<void> {
    await this.#write(image);
    faultPoint('images/record written');
    this.#images.set(image.id, image);
    const taken = new Set(image.tags.map(({ name }) => name));
    for (const other of this.#images.values()) {
      const kept = other.tags.filter(({ name }) => !taken.has(name));
      if (other.id === image.id || kept.length === other.tags.length) continue;
      other.tags = kept;
      await this.#write(other);
    }
    this.#reindex();
  }

  /** Removes an image with all its names. Answers whether it was there; `onRemoved` runs if so, before any other change. */
  async remove(id: string, onRemoved: (id: string) => void): Promise<boolean> {
    using _ = await this.#changing.acquire();
    if (!this.#images.has(id)) return false;
    onRemoved(id);
    this.#images.delete(id);
    this.#reindex();
    await rm(this.#layout.record(id), { force: true });
    faultPoint('images/record removed');
    await syncDirectory(this.#layout.records);
    return true;
  }

  /** Where a record lies, to set it aside. */
  path(id: string): string {
    return this.#layout.record(id);
  }

  /** Leaves an image out without touching its record. */
  drop(id: string): void {
    this.#images.delete(id);
    this.#reindex();
  }

  #write(image: StoredImage): Promise<void> {
    const path = this.#layout.record(image.id);
    return writeFileAtomic(path, JSON.stringify(image), { durable: true });
  }

  /** A crash between two writes may leave a tag with two images: it belongs to the later one. */
  #reindex(): void {
    const tags = new Map<string, { id: string; since: number }>();
    this.#digests.clear();
    for (const image of this.#images.values()) {
      for (const { name, since } of image.tags) {
        const other = tags.get(name);
        if (other === undefined || other.since < since) tags.set(name, { id: image.id, since });
      }
      for (const name of image.digests)
        this.#digests.set(name.slice(name.indexOf('@') + 1), image.id);
    }
    this.#tags.clear();
    for (const [name, { id }] of tags) this.#tags.set(name, id);
    for (const image of this.#images.values()) {
      image.tags = image.tags.filter(({ name }) => this.#tags.get(name) === image.id);
    }
  }
}

function ambiguous(text: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', `Cannot tell which image "${text}" is`, {
    reason: 'several ids begin so',
  });
}
