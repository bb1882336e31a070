import { type FileHandle, open } from 'node:fs/promises';
import { KeelsonError } from '../../base/index.ts';
import type { BlobSink, ServedManifest } from '../registry/index.ts';
import { type Descriptor, parseDigest, verifyDigest } from '../spec/index.ts';
import type { ArchiveIndex } from './archive-index.ts';
import type { ImageSource } from './image-description.ts';

const READ_SIZE = 1024 * 1024;
const MAX_LINKS = 10;
/** The largest document that is read from an archive into memory. */
const MAX_DOCUMENT = 8 * 1024 * 1024;

/**
 * The parts of an image in an archive: of OCI's layout under `blobs/ALGORITHM/HEX`, of
 * `docker save`'s under names that its `manifest.json` tells.
 */
export class ArchiveSource implements ImageSource, AsyncDisposable {
  readonly #index: ArchiveIndex;
  readonly #file: FileHandle;
  readonly #names = new Map<string, string>();
  readonly #documents = new Map<string, ServedManifest>();

  private constructor(index: ArchiveIndex, file: FileHandle) {
    this.#index = index;
    this.#file = file;
  }

  static async open(index: ArchiveIndex): Promise<ArchiveSource> {
    return new ArchiveSource(index, await open(index.path, 'r'));
  }

  /** A document of the archive; undefined if there is none of that name. */
  async read(name: string): Promise<Buffer | undefined> {
    const place = this.#place(name);
    if (place === undefined) return undefined;
    if (place.size > MAX_DOCUMENT) throw bad(`"${name}" is larger than ${MAX_DOCUMENT} bytes`);
    const content = Buffer.alloc(place.size);
    const { bytesRead } = await this.#file.read(content, 0, place.size, place.offset);
    if (bytesRead < place.size) throw bad('it is truncated');
    return content;
  }

  /** Where a file's content lies in the archive. */
  locate(name: string): { path: string; offset: number; size: number } {
    const place = this.#place(name);
    if (place === undefined) throw bad(`it has no file "${name}"`);
    return { path: this.#index.path, ...place };
  }

  /** Says under which name a blob is kept. */
  addBlob(digest: string, name: string): void {
    this.#names.set(digest, name);
  }

  /** Says what a manifest is that the archive does not hold as such. */
  addManifest(manifest: ServedManifest): void {
    this.#documents.set(manifest.digest, manifest);
  }

  async manifest(digest: string): Promise<ServedManifest> {
    const made = this.#documents.get(digest);
    if (made !== undefined) return made;
    const content = await this.read(this.#nameOf(digest));
    if (content === undefined) throw bad(`it has no manifest "${digest}"`);
    verifyDigest(content, digest, 'the manifest of the archive');
    return { mediaType: undefined, digest, content };
  }

  async smallBlob({ digest, size }: Descriptor, limit: number): Promise<Buffer> {
    const content = size > limit ? undefined : await this.read(this.#nameOf(digest));
    if (content === undefined) throw bad(`it has no blob "${digest}" of a sensible size`);
    verifyDigest(content, digest, `blob "${digest}"`);
    return content;
  }

  async blob(
    { digest, size }: Descriptor,
    sink: BlobSink,
    { signal }: { signal: AbortSignal },
  ): Promise<undefined> {
    const place = this.locate(this.#nameOf(digest));
    if (place.size !== size) throw bad(`blob "${digest}" has ${place.size} bytes, not ${size}`);
    while (sink.offset < size) {
      signal.throwIfAborted();
      const chunk = Buffer.allocUnsafe(Math.min(READ_SIZE, size - sink.offset));
      const { bytesRead } = await this.#file.read(
        chunk,
        0,
        chunk.length,
        place.offset + sink.offset,
      );
      if (bytesRead === 0) throw bad('it is truncated');
      await sink.write(chunk.subarray(0, bytesRead));
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  #nameOf(digest: string): string {
    const { algorithm, hex } = parseDigest(digest);
    return this.#names.get(digest) ?? `blobs/${algorithm}/${hex}`;
  }

  #place(name: string): { offset: number; size: number } | undefined {
    let found = name;
    for (let links = 0; links < MAX_LINKS; links++) {
      const target = this.#index.links.get(found);
      if (target === undefined) return this.#index.files.get(found);
      found = target;
    }
    return undefined;
  }
}

function bad(reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', 'Cannot use image archive', { reason });
}
