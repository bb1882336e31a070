import { type FSWatcher, watch } from 'node:fs';
import { lstat, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ifExists, type Logger, messageOf } from '../../base/index.ts';

export interface SocketWatchOptions {
  /** Made if it is not there. Its directories are looked into as well. */
  directory: string;
  logger: Logger;
  /** A socket is there, or another one in its place. */
  appeared(path: string): void;
  vanished(path: string): void;
}

/** Milliseconds between looks that nothing calls for: inotify may lose events. */
const RESCAN = 30_000;
/** Milliseconds that events are gathered before a look. */
const SETTLE = 20;
const DEEPEST = 4;

/** Watches a directory for sockets. Names that begin with "." do not count, as for a kubelet. */
export class SocketWatch implements AsyncDisposable {
  readonly #options: SocketWatchOptions;
  readonly #watchers = new Map<string, FSWatcher>();
  /** Path → which file lay there. */
  readonly #sockets = new Map<string, string>();
  #scanning: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: SocketWatchOptions) {
    this.#options = options;
  }

  /** Resolves when the sockets that are there already have been told. */
  static async open(options: SocketWatchOptions): Promise<SocketWatch> {
    await mkdir(options.directory, { recursive: true, mode: 0o750 });
    const sockets = new SocketWatch(options);
    await sockets.#scan();
    return sockets;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    await this.#scanning;
  }

  #soon(milliseconds: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#scanning = this.#scanning.then(() => this.#scan());
    }, milliseconds);
    this.#timer.unref();
  }

  async #scan(): Promise<void> {
    const { directory, logger, appeared, vanished } = this.#options;
    try {
      const found = new Map<string, string>();
      const directories = new Set<string>();
      await this.#look(directory, DEEPEST, found, directories);
      if (this.#closed) return;
      for (const path of this.#sockets.keys()) if (!found.has(path)) this.#gone(path, vanished);
      for (const [path, identity] of found) {
        if (this.#sockets.get(path) === identity) continue;
        this.#sockets.set(path, identity);
        appeared(path);
      }
      for (const [path, watcher] of this.#watchers) {
        if (directories.has(path)) continue;
        watcher.close();
        this.#watchers.delete(path);
      }
    } catch (error) {
      logger.error({ directory, error }, `cannot look for plugins: ${messageOf(error)}`);
    }
    this.#soon(RESCAN);
  }

  #gone(path: string, vanished: (path: string) => void): void {
    this.#sockets.delete(path);
    vanished(path);
  }

  async #look(
    directory: string,
    depth: number,
    found: Map<string, string>,
    directories: Set<string>,
  ): Promise<void> {
    // Watched before it is read: what comes meanwhile is seen by one or the other.
    this.#watchDirectory(directory);
    directories.add(directory);
    for (const entry of (await ifExists(readdir(directory, { withFileTypes: true }))) ?? []) {
      const path = join(directory, entry.name);
      if (entry.name.startsWith('.')) continue;
      if (entry.isDirectory() && depth > 0) await this.#look(path, depth - 1, found, directories);
      if (!entry.isSocket()) continue;
      const info = await ifExists(lstat(path));
      if (info !== undefined) found.set(path, `${info.dev}:${info.ino}:${info.ctimeMs}`);
    }
  }

  #watchDirectory(directory: string): void {
    if (this.#closed || this.#watchers.has(directory)) return;
    try {
      const watcher = watch(directory, () => this.#soon(SETTLE));
      watcher.on('error', () => this.#soon(SETTLE));
      this.#watchers.set(directory, watcher);
    } catch {
      // It went, or inotify has no watch left: the next look by itself finds what comes.
    }
  }
}
