import { lstat, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, ifExists, KeelsonError, sleep } from '../../base/index.ts';
import {
  type FileIdentity,
  filesWrittenBy,
  isAlive,
  isSameFile,
  isStopped,
  makeAppending,
  type OpenFile,
  type ProcessId,
  signalProcess,
} from '../../linux/index.ts';
import { type Conmon, MONITOR_FILES, monitorOf } from './conmon.ts';

/** The longest pause between two looks at the monitor, in milliseconds; the first is one. */
const LONGEST_PAUSE = 64;

/** How long a monitor may take to stop at a signal, in milliseconds. */
const STOP_DEADLINE = 1_000;

/**
 * The log that a monitor writes, and another file that it is to go on with.
 *
 * conmon takes another file wherever it stands, maybe in the middle of a line: it closes its
 * log, opens its path with `.tmp` at the end, emptied, and renames that to the path. Its path
 * is a link in the bundle; so is what we put at the path with `.tmp`, and thereby it opens
 * whatever file we like. It writes there from the beginning, not at the end: who cuts the file
 * under it makes it append first.
 */
export class MonitorLog {
  readonly #conmon: Conmon;
  readonly #bundle: string;
  readonly #monitor: ProcessId | undefined;

  private constructor(conmon: Conmon, bundle: string, monitor: ProcessId | undefined) {
    this.#conmon = conmon;
    this.#bundle = bundle;
    this.#monitor = monitor;
  }

  /** Undefined if the monitor has no log, or opens it by the log's own path. */
  static async find(conmon: Conmon, bundle: string): Promise<MonitorLog | undefined> {
    if ((await ifExists(lstat(linkOf(bundle)))) === undefined) return undefined;
    return new MonitorLog(conmon, bundle, await monitorOf(bundle));
  }

  get ended(): boolean {
    return this.#monitor === undefined || !isAlive(this.#monitor);
  }

  /** What it writes to; undefined if it has ended. */
  async file(): Promise<OpenFile | undefined> {
    if (this.#monitor === undefined) return undefined;
    const files = await filesWrittenBy(this.#monitor.pid);
    const log = files.find(({ name }) => !name.startsWith(`${this.#bundle}/`));
    return this.ended ? undefined : log;
  }

  async writes(file: FileIdentity): Promise<boolean> {
    const current = await this.file();
    return current !== undefined && isSameFile(current.file, file);
  }

  /**
   * Has the monitor go on with another file, which must be there and is emptied, and waits
   * until it does: what it left is complete then. Fails if the monitor ends before.
   */
  async moveTo(path: string, signal: AbortSignal): Promise<void> {
    const link = linkOf(this.#bundle);
    await rm(`${link}.tmp`, { force: true });
    await symlink(path, `${link}.tmp`);
    const made = await lstat(`${link}.tmp`);
    await this.#conmon.reopenLog(this.#bundle);
    for (const pause of pauses()) {
      const { ended } = this;
      if (isSameFile(await lstat(link), made)) return;
      if (ended) {
        throw new KeelsonError('FAILED_PRECONDITION', `Cannot go on with log "${path}"`, {
          reason: 'the container has ended',
        });
      }
      await sleep(pause, signal);
    }
  }

  /**
   * Holds the monitor still until the answer is disposed of: a container that writes a lot
   * waits meanwhile. Undefined if it does not stop, for it has ended.
   */
  async hold(signal: AbortSignal): Promise<Disposable | undefined> {
    if (this.#monitor === undefined) return undefined;
    signalProcess(this.#monitor, 'SIGSTOP');
    const deadline = performance.now() + STOP_DEADLINE;
    for (const pause of pauses()) {
      if (isStopped(this.#monitor)) return { [Symbol.dispose]: () => this.release() };
      if (this.ended || performance.now() > deadline || signal.aborted) break;
      await sleep(pause);
    }
    this.release();
    return undefined;
  }

  /** Ends what `hold` began; nothing to do for a monitor that is not held. */
  release(): void {
    if (this.#monitor !== undefined) signalProcess(this.#monitor, 'SIGCONT');
  }

  /** Makes the monitor append. Answers whether it does: not where the kernel forbids it. */
  async append(): Promise<boolean> {
    const file = await this.file();
    try {
      return file !== undefined && makeAppending(file);
    } catch (error) {
      if (['EPERM', 'ENOSYS', 'ESRCH', 'EBADF'].includes(errnoOf(error) ?? '')) return false;
      throw error;
    }
  }
}

function linkOf(bundle: string): string {
  return join(bundle, MONITOR_FILES.containerLog);
}

/** Milliseconds between looks, without end. */
export function* pauses(): Generator<number> {
  for (let pause = 1; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) yield pause;
}
