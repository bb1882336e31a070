import { type FSWatcher, watch } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { abandonOn, ifExists, type Logger } from '../base/index.ts';

/** How a container ended, as its monitor wrote it down. */
export interface Exit {
  exitCode: number;
  /** Unix time in nanoseconds, as decimal digits. */
  finishedAt: string;
}

type OnExit = (id: string, exit: Exit) => Promise<void>;

/**
 * Watches the directory where monitors leave exit codes: one file per container, named
 * by its id, put there by rename. A file is deleted once its exit has been recorded.
 */
export class Exits implements Disposable {
  readonly directory: string;
  readonly #logger: Logger;
  readonly #waiting = new Map<string, PromiseWithResolvers<void>>();
  readonly #handling = new Map<string, Promise<void>>();
  #watcher: FSWatcher | undefined;
  #onExit: OnExit = async () => {};

  constructor(directory: string, logger: Logger) {
    this.directory = directory;
    this.#logger = logger;
  }

  /** Starts watching; exits that are there already are reported too. */
  async start(onExit: OnExit): Promise<void> {
    this.#onExit = onExit;
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    // Every event looks at the whole directory: an event that the kernel dropped is made up for.
    const failed = (error: unknown) =>
      this.#logger.error({ error }, 'cannot look for exits of containers');
    this.#watcher = watch(this.directory, () => void this.scan().catch(failed));
    this.#watcher.on('error', failed);
    await this.scan();
  }

  /** Handles all exit files that are there now. */
  async scan(): Promise<void> {
    const names = (await ifExists(readdir(this.directory))) ?? [];
    await Promise.all(
      names.filter((name) => /^[0-9a-f]{64}$/.test(name)).map((id) => this.#once(id)),
    );
  }

  /** Resolves when the exit of a container has been recorded (`announce`). */
  wait(id: string, signal: AbortSignal): Promise<void> {
    const waiter = this.#waiting.get(id) ?? Promise.withResolvers<void>();
    this.#waiting.set(id, waiter);
    return abandonOn(signal, waiter.promise);
  }

  /** The exit of this container has been recorded, or the container is gone. */
  announce(id: string): void {
    this.#waiting.get(id)?.resolve();
    this.#waiting.delete(id);
  }

  /** Deletes what the monitor of a container wrote, which must have ended or been killed. */
  async forget(id: string): Promise<void> {
    const names = (await ifExists(readdir(this.directory))) ?? [];
    // Killed while it wrote, it leaves a file `<id>.XXXXXX` that it would have renamed.
    const own = names.filter((name) => name === id || name.startsWith(`${id}.`));
    await Promise.all(own.map((name) => rm(join(this.directory, name), { force: true })));
    this.announce(id);
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
  }

  #once(id: string): Promise<void> {
    const running = this.#handling.get(id);
    if (running !== undefined) return running;
    const handling = this.#handle(id).finally(() => this.#handling.delete(id));
    this.#handling.set(id, handling);
    return handling;
  }

  async #handle(id: string): Promise<void> {
    const path = join(this.directory, id);
    try {
      const [text, { mtimeNs }] = await Promise.all([
        readFile(path, 'utf8'),
        stat(path, { bigint: true }),
      ]);
      const exitCode = Number.parseInt(text, 10);
      await this.#onExit(id, {
        exitCode: Number.isNaN(exitCode) ? 255 : exitCode,
        finishedAt: String(mtimeNs),
      });
      await rm(path, { force: true });
    } catch (error) {
      this.#logger.error({ id, error }, 'cannot record the exit of a container');
    }
  }
}
