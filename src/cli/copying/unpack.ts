import { createWriteStream } from 'node:fs';
import { chmod, link, mkdir, symlink, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import { KeelsonError } from '../../base/index.ts';

interface Late {
  readonly path: string;
  readonly headers: Header;
}

/**
 * Unpacks an archive, that nobody vouches for, into an empty directory. Nothing outside of it
 * is touched: names that lead out are refused, and links are made last, when nothing is
 * written any more. Devices, sockets and pipes are left out and told.
 */
export async function unpackTree(
  archive: Readable,
  directory: string,
  onSkip: (name: string) => void,
): Promise<void> {
  const tree = new Tree(directory, onSkip);
  const unpacking = extract();
  archive.once('error', (error) => unpacking.destroy(error)).pipe(unpacking);
  for await (const entry of unpacking) {
    await tree.add(entry.header, entry);
    entry.resume();
  }
  await tree.finish();
}

class Tree {
  readonly #directory: string;
  readonly #onSkip: (name: string) => void;
  readonly #directories: Late[] = [];
  readonly #hardLinks: Late[] = [];
  readonly #links: Late[] = [];

  constructor(directory: string, onSkip: (name: string) => void) {
    this.#directory = directory;
    this.#onSkip = onSkip;
  }

  async add(headers: Header, content: AsyncIterable<unknown>): Promise<void> {
    const path = this.#inside(headers.name);
    switch (headers.type) {
      case 'directory':
        await mkdir(path, { recursive: true });
        this.#directories.push({ path, headers });
        return;
      case 'file':
      case 'contiguous-file':
        await mkdir(dirname(path), { recursive: true });
        await pipeline(chunksOf(content), createWriteStream(path, { flags: 'wx', mode: 0o600 }));
        await chmod(path, (headers.mode ?? 0o644) & 0o777);
        if (headers.mtime) await utimes(path, headers.mtime, headers.mtime);
        return;
      case 'link':
        this.#hardLinks.push({ path, headers });
        return;
      case 'symlink':
        this.#links.push({ path, headers });
        return;
      default:
        this.#onSkip(headers.name);
    }
  }

  async finish(): Promise<void> {
    for (const { path, headers } of this.#hardLinks) {
      await mkdir(dirname(path), { recursive: true });
      await link(this.#inside(headers.linkname ?? ''), path);
    }
    for (const { path } of this.#links) await mkdir(dirname(path), { recursive: true });
    for (const { path, headers } of this.#links) await symlink(headers.linkname ?? '', path);
    // Last and the deepest first: one that may not be written could not have been filled.
    for (const { path, headers } of this.#directories.reverse()) {
      await chmod(path, (headers.mode ?? 0o755) & 0o777);
      if (headers.mtime) await utimes(path, headers.mtime, headers.mtime);
    }
  }

  #inside(name: string): string {
    const parts = name.split('/').filter((part) => part !== '' && part !== '.');
    if (parts.includes('..') || name.includes('\0') || name.startsWith('/')) {
      throw new KeelsonError('FAILED_PRECONDITION', `Cannot unpack "${name}"`, {
        reason: 'the name leads out of the directory that is copied',
      });
    }
    return join(this.#directory, ...parts);
  }
}

/** Not handed to `pipeline` as it is: that would not see it break off. */
async function* chunksOf(content: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
  for await (const chunk of content) yield chunk as Buffer;
}
