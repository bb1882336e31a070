import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ifExists, sleep } from '../base/index.ts';
import { tailOffset } from './log-tail.ts';

export interface FollowOptions {
  /** Start with the last so many lines; undefined for all. */
  readonly tail: number | undefined;
  /** Go on with what is written later, until `ended` says that nothing will be. */
  readonly follow: boolean;
  ended(): Promise<boolean>;
  /**
   * Milliseconds between questions whether it ended, and between looks at the file where
   * the file system tells of no changes. Default 1000.
   */
  readonly poll?: number;
  readonly signal: AbortSignal;
}

/** A piece of a log. `replaced` says that what follows is another file. */
export type LogChunk = { bytes: Buffer } | { replaced: true };

const BLOCK = 64 * 1024;

/**
 * The bytes of a container log, also across rotations: the file is renamed, the writer
 * opens a new one at the path, and from then on writes only there. So when another file
 * is at the path, the old one is read to its end and then left, for those that were at the
 * path meanwhile, if the log is rotated faster than it is read, and then for the new one.
 */
export async function* readLog(path: string, options: FollowOptions): AsyncGenerator<LogChunk> {
  const poll = options.poll ?? 1000;
  using changes = new Changes(dirname(path), poll);
  const isLast = endQuestion(options, poll);
  const opened = await openLog(path, changes, options);
  if (opened === undefined) return;
  let file: FileHandle = opened;
  let later: FileHandle[] = [];
  try {
    let offset = options.tail === undefined ? 0 : await tailOffset(file, options.tail);
    for (;;) {
      // In this order, and before reading: what was written until it ended is read below.
      const isOver = later.length === 0 && (await isLast());
      if (options.follow && later.length === 0) later = await successors(file, path);
      const next = later.shift();
      for await (const bytes of readFrom(file, offset)) {
        offset += bytes.length;
        yield { bytes };
      }
      if (isOver && next === undefined) return;
      if (next !== undefined) {
        await file.close();
        file = next;
      }
      if (next !== undefined || (await file.stat()).size < offset) {
        offset = 0;
        yield { replaced: true };
      } else await changes.next(options.signal);
    }
  } finally {
    for (const each of [file, ...later]) await each.close();
  }
}

/** Opens the log; a container that was not started yet has none, so a follower waits. */
async function openLog(
  path: string,
  changes: Changes,
  options: FollowOptions,
): Promise<FileHandle | undefined> {
  for (;;) {
    if (!options.follow) return open(path, 'r');
    const last = await options.ended();
    const file = await ifExists(open(path, 'r'));
    if (file !== undefined || last) return file;
    await changes.next(options.signal);
  }
}

/** Whether nothing more will be written; asked of the daemon only now and then. */
function endQuestion(options: FollowOptions, poll: number): () => Promise<boolean> {
  let asked = Number.NEGATIVE_INFINITY;
  return async () => {
    if (!options.follow) return true;
    if (performance.now() - asked < poll) return false;
    asked = performance.now();
    return options.ended();
  };
}

async function* readFrom(file: FileHandle, from: number): AsyncGenerator<Buffer> {
  for (let offset = from; ; ) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(BLOCK), 0, BLOCK, offset);
    if (bytesRead === 0) return;
    offset += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/**
 * The files that took the place of this one at the path, the oldest first; none while it is
 * still there. Those that were renamed since then are told by when they were made.
 */
async function successors(file: FileHandle, path: string): Promise<FileHandle[]> {
  const current = await ifExists(open(path, 'r'));
  if (current === undefined) return [];
  const [own, newest] = [await identityOf(file), await identityOf(current)];
  if (own.id === newest.id) {
    await current.close();
    return [];
  }
  const files = [{ file: current, ...newest }];
  for (const each of await rotatedFiles(path)) {
    // One that is newer than what was at the path a moment ago comes later.
    const isBetween = own.born !== 0n && each.born > own.born && each.born < newest.born;
    if (isBetween && !files.some(({ id }) => id === each.id)) files.push(each);
    else await each.file.close();
  }
  return files.sort((a, b) => (a.born < b.born ? -1 : 1)).map((each) => each.file);
}

interface Identity {
  id: string;
  /** When it was made, in nanoseconds; 0 where the file system does not tell. */
  born: bigint;
}

async function identityOf(file: FileHandle): Promise<Identity> {
  const { dev, ino, birthtimeNs } = await file.stat({ bigint: true });
  return { id: `${dev}:${ino}`, born: birthtimeNs };
}

/** Kubelets rename to `<log>.<time>`, and pack older ones some time later. */
async function rotatedFiles(path: string): Promise<(Identity & { file: FileHandle })[]> {
  const found = [];
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(`${basename(path)}.`) || /\.(gz|tmp)$/.test(name)) continue;
    const file = await ifExists(open(join(dirname(path), name), 'r'));
    if (file !== undefined) found.push({ ...(await identityOf(file)), file });
  }
  return found;
}

/** Wakes a reader when something in a directory changes, and now and then. */
class Changes implements Disposable {
  readonly #watcher: FSWatcher | undefined;
  readonly #poll: number;
  #changed = Promise.withResolvers<void>();

  constructor(directory: string, poll: number) {
    this.#poll = poll;
    try {
      this.#watcher = watch(directory, () => this.#changed.resolve());
      this.#watcher.on('error', () => {});
    } catch {
      // The directory is not there yet, or the host has too many watches: polling serves.
    }
  }

  async next(signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const waiting = sleep(this.#poll, AbortSignal.any([signal, woken.signal])).catch(() => {});
    await Promise.race([this.#changed.promise, waiting]);
    woken.abort();
    signal.throwIfAborted();
    this.#changed = Promise.withResolvers<void>();
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
  }
}
