import { type Logger, messageOf, Semaphore } from '../../base/index.ts';
import type { NetworkList, ValidAttachment } from '../spec/index.ts';
import type { AttachmentRecords } from './attachment-records.ts';
import type { CniRuntime } from './cni-runtime.ts';

/** Milliseconds until what could not be removed is tried again: doubled each time, up to the longest. */
const FIRST_RETRY = 30_000;
const LONGEST_RETRY = 600_000;

export interface GarbageCollectorOptions {
  runtime: CniRuntime;
  records: AttachmentRecords;
  logger: Logger;
  /** The networks that are configured now. */
  networks: () => Promise<readonly NetworkList[]>;
  /** Detaches a container. */
  detach: (containerId: string, signal: AbortSignal) => Promise<void>;
}

/**
 * Knows which of the recorded containers are garbage: left by an earlier life of the
 * daemon, or by a DEL that failed. Tries to remove them until it succeeds.
 */
export class GarbageCollector implements AsyncDisposable {
  readonly #options: GarbageCollectorOptions;
  /** Attached, or being attached, in this life of the daemon. */
  readonly #live = new Set<string>();
  readonly #garbage = new Set<string>();
  readonly #turn = new Semaphore(1);
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #retries = 0;

  constructor(options: GarbageCollectorOptions) {
    this.#options = options;
  }

  /** The container is about to be attached. */
  keep(containerId: string): void {
    this.#live.add(containerId);
    this.#garbage.delete(containerId);
  }

  /** The container could not be detached. */
  add(containerId: string): void {
    this.#live.delete(containerId);
    this.#garbage.add(containerId);
    this.#schedule();
  }

  /** Nothing of the container is left. */
  forget(containerId: string): void {
    this.#live.delete(containerId);
    this.#garbage.delete(containerId);
  }

  /**
   * Removes all recorded containers that are neither in `valid` nor attached in this
   * life. What cannot be removed is logged and tried again later; only an abort is an error.
   */
  async collect(valid: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    for (const containerId of await this.#options.records.list()) {
      if (valid.has(containerId) || this.#live.has(containerId)) continue;
      this.#garbage.add(containerId);
    }
    const either = AbortSignal.any([signal, this.#closing.signal]);
    await this.#sweep(either);
    await this.#collect(either);
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    const { runtime, logger } = this.#options;
    try {
      await runtime.sweepCache(signal);
    } catch (error) {
      signal.throwIfAborted();
      logger.warn({ error }, `cannot tidy up the results of CNI: ${messageOf(error)}`);
    }
  }

  /** Ends the retries. What is left stays recorded for the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#closing.abort(new Error('closing'));
    using _ = await this.#turn.acquire();
  }

  async #collect(signal: AbortSignal): Promise<void> {
    using _ = await this.#turn.acquire(signal);
    const { runtime, networks, detach } = this.#options;
    let left = 0;
    const attempt = async (fields: object, what: string, work: () => Promise<void>) => {
      try {
        await work();
      } catch (error) {
        signal.throwIfAborted();
        left++;
        this.#options.logger.warn(
          { ...fields, error },
          `cannot ${what}, trying again later: ${messageOf(error)}`,
        );
      }
    };
    for (const containerId of this.#garbage) {
      const work = () => detach(containerId, signal);
      await attempt({ sandbox: containerId }, 'detach what is no pod any more', work);
    }
    for (const list of await networks()) {
      const work = () => runtime.collectPlugins(list, () => this.#validOn(list.name), signal);
      await attempt({ network: list.name }, `collect garbage of network "${list.name}"`, work);
    }
    if (left > 0) this.#schedule();
    else this.#retries = 0;
  }

  /** All attachments of a network but garbage, also those of other runtimes. */
  async #validOn(network: string): Promise<ValidAttachment[]> {
    const { runtime, records } = this.#options;
    const valid = new Map<string, ValidAttachment>();
    const add = (containerID: string, ifname: string) => {
      if (this.#garbage.has(containerID)) return;
      valid.set(`${containerID}/${ifname}`, { containerID, ifname });
    };
    for (const entry of await runtime.cache.list()) {
      if (entry.network === network) add(entry.containerId, entry.ifname);
    }
    for (const containerId of await records.list()) {
      for (const { list, attachment } of (await records.read(containerId))?.networks ?? []) {
        if (list.name === network) add(containerId, attachment.ifname);
      }
    }
    return [...valid.values()];
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closing.signal.aborted) return;
    const delay = Math.min(LONGEST_RETRY, FIRST_RETRY * 2 ** this.#retries++);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#collect(this.#closing.signal).catch((error: unknown) => {
        if (this.#closing.signal.aborted) return;
        this.#options.logger.error({ error }, `cannot collect garbage of CNI: ${messageOf(error)}`);
      });
    }, delay).unref();
  }
}
