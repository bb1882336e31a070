import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { KeelsonError } from '../../base/errors.ts';
import { Decompressor, type Gunzip } from './decompress.ts';
import type { TarEntry } from './tar-entry.ts';
import { TarReader, type TarSink } from './tar-reader.ts';

/** An image archive to look through, in a form that can be sent to a worker. */
export interface IndexJob {
  archive: string;
  /** Where to put the archive uncompressed, if it is compressed. */
  spool: string;
  /** Bytes that it may have uncompressed. */
  limit: number;
}

/** Where the files of an archive lie. Names are as written, without a leading `./`. */
export interface ArchiveIndex {
  /** The uncompressed archive. */
  path: string;
  files: Map<string, { offset: number; size: number }>;
  /** Links, symbolic and hard, to other files of the archive. */
  links: Map<string, string>;
}

const READ_SIZE = 1024 * 1024;
const MAX_FILES = 100_000;

/** Finds the files of an archive, so that they can be read in any order. */
export async function indexArchive(
  { archive, spool, limit }: IndexJob,
  gunzip: Gunzip,
): Promise<ArchiveIndex> {
  const compressed = isCompressed(archive);
  const target = compressed
    ? openSync(spool, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
    : undefined;
  const index = new Indexer();
  const reader = new TarReader(index);
  const decompressor = new Decompressor(gunzip, (chunk) => {
    if (index.base + chunk.length > limit) throw tooLarge(limit);
    for (let at = 0; target !== undefined && at < chunk.length; )
      at += writeSync(target, chunk, at);
    reader.push(chunk);
    index.base += chunk.length;
  });
  const source = openSync(archive, 'r');
  try {
    for (let position = 0; ; ) {
      const buffer = Buffer.allocUnsafeSlow(READ_SIZE);
      const read = readSync(source, buffer, 0, READ_SIZE, position);
      if (read === 0) break;
      position += read;
      await decompressor.write(buffer.subarray(0, read));
    }
    await decompressor.end();
    reader.finish();
  } finally {
    decompressor.abandon();
    closeSync(source);
    if (target !== undefined) closeSync(target);
  }
  return { path: compressed ? spool : archive, files: index.files, links: index.links };
}

class Indexer implements TarSink {
  readonly files = new Map<string, { offset: number; size: number }>();
  readonly links = new Map<string, string>();
  /** Where the chunk that is being read begins in the archive. */
  base = 0;
  #current: { offset: number; size: number } | undefined;

  entry(entry: TarEntry): void {
    this.#current = undefined;
    const name = nameOf(entry.name);
    if (this.files.size + this.links.size >= MAX_FILES) {
      throw new KeelsonError('INVALID_ARGUMENT', 'Cannot read image archive', {
        reason: `it has more than ${MAX_FILES} files`,
      });
    }
    if (entry.type === 'file') {
      this.#current = { offset: 0, size: entry.size };
      this.files.set(name, this.#current);
    } else if (entry.type === 'symlink') {
      const above = name.split('/').slice(0, -1).join('/');
      this.links.set(name, nameOf(above === '' ? entry.linkName : `${above}/${entry.linkName}`));
    } else if (entry.type === 'link') {
      this.links.set(name, nameOf(entry.linkName));
    }
  }

  data(_chunk: Buffer, start: number, _end: number, position: number): void {
    if (this.#current !== undefined && position === 0) this.#current.offset = this.base + start;
  }

  endEntry(): void {}
}

/** A name of an archive in one form; names are looked up here, never in a file system. */
function nameOf(name: string): string {
  const components: string[] = [];
  for (const component of name.split('/')) {
    if (component === '..') components.pop();
    else if (component !== '' && component !== '.') components.push(component);
  }
  return components.join('/');
}

function isCompressed(path: string): boolean {
  const head = Buffer.alloc(4);
  const fd = openSync(path, 'r');
  try {
    readSync(fd, head, 0, 4, 0);
  } finally {
    closeSync(fd);
  }
  return Decompressor.recognises(head);
}

function tooLarge(limit: number): KeelsonError {
  return new KeelsonError('RESOURCE_EXHAUSTED', 'Cannot read image archive', {
    reason: `it has more than ${limit} bytes`,
  });
}
