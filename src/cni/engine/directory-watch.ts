import { type FSWatcher, statSync, watch } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { errnoOf } from '../../base/index.ts';

/** Milliseconds that changes are gathered for before they are told: a file is seldom written in one go. */
const GATHER = 50;

/**
 * Tells of changes in directories, which need not exist yet: until then the nearest
 * directory above that does is watched. Uses inotify, no polling.
 */
export class DirectoryWatch implements Disposable {
  readonly #onChange: () => void;
  #watchers = new Map<string, FSWatcher>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /**
   * Watches these directories and no others. What happens from now on is told: read the
   * directories after this, and call it again after each change. Throws when the system
   * has no more watches to give.
   */
  set(directories: readonly string[]): void {
    if (this.#closed) return;
    // Made anew each time: a watch stays with a directory that was replaced by another.
    const before = this.#watchers;
    this.#watchers = new Map();
    try {
      for (const directory of directories) this.#watchNearest(lineageOf(resolve(directory)));
    } finally {
      closeAll(before);
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    closeAll(this.#watchers);
  }

  /** Watches the first of `paths` that is there, and stays on it while it is the first. */
  #watchNearest(paths: readonly string[]): void {
    let nearest: string;
    do {
      nearest = paths.find(isDirectory) ?? '/';
      this.#watch(nearest);
    } while (nearest !== (paths.find(isDirectory) ?? '/'));
  }

  #watch(path: string): void {
    if (this.#watchers.has(path)) return;
    try {
      const watcher = watch(path, { persistent: false }, () => this.#gather());
      watcher.on('error', () => this.#gather());
      this.#watchers.set(path, watcher);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error; // It vanished just now.
    }
  }

  #gather(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#onChange();
    }, GATHER).unref();
  }
}

function closeAll(watchers: Map<string, FSWatcher>): void {
  for (const watcher of watchers.values()) watcher.close();
  watchers.clear();
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** The path itself and all directories above it, `/` last. */
function lineageOf(path: string): string[] {
  const lineage = [path];
  for (let at = path; at !== '/'; at = dirname(at)) lineage.push(dirname(at));
  return lineage;
}
