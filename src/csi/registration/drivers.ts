import { KeelsonError, KeyedLock, type Logger } from '../../base/index.ts';
import type { Driver } from './driver.ts';

interface Entry {
  driver: Driver;
  /** The socket that brought it: the one whose vanishing takes it away. */
  source: string;
  version: readonly number[];
}

/** The drivers that are registered now, by name. */
export class Drivers implements Disposable {
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<(name: string) => void>();
  readonly #locks = new KeyedLock();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  list(): Driver[] {
    return [...this.#entries.values()]
      .map(({ driver }) => driver)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  find(name: string): Driver | undefined {
    return this.#entries.get(name)?.driver;
  }

  /** As `find`, but fails with UNAVAILABLE: the driver may come back. */
  get(name: string): Driver {
    const found = this.find(name);
    if (found !== undefined) return found;
    throw new KeelsonError('UNAVAILABLE', `Cannot reach driver "${name}"`, {
      reason: 'no driver of that name is registered',
      hint: '"keelson csi drivers" shows those that are',
    });
  }

  /**
   * Takes a driver in. One of the same name from the same socket is replaced; from another
   * socket only if the new one speaks a higher version, as a kubelet has it.
   */
  register(driver: Driver, source: string, version: readonly number[]): void {
    const before = this.#entries.get(driver.name);
    if (before !== undefined && before.source !== source && !isHigher(version, before.version)) {
      throw new KeelsonError('ALREADY_EXISTS', `Cannot register driver "${driver.name}"`, {
        reason: `"${before.source}" has registered one of that name already`,
        hint: 'remove that socket first',
      });
    }
    this.#entries.set(driver.name, { driver, source, version });
    before?.driver[Symbol.dispose]();
    this.#report(before?.driver, driver);
    this.#tell(driver.name);
  }

  /** Forgets the driver that a socket brought; its volumes stay as they are. */
  deregister(source: string): void {
    for (const [name, entry] of this.#entries) {
      if (entry.source !== source) continue;
      this.#entries.delete(name);
      entry.driver[Symbol.dispose]();
      this.#logger.info({ driver: name, source }, 'CSI driver has gone');
      this.#tell(name);
    }
  }

  /** Calls `listener` with the name of a driver that came, changed or went. */
  onChange(listener: (name: string) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /**
   * The right to call a driver about one volume or snapshot: "the CO SHALL have no more
   * than one call in flight per volume" (CSI specification, "Concurrency").
   */
  lock(driver: string, id: string, signal: AbortSignal): Promise<Disposable> {
    return this.#locks.acquire(`${driver}/${id}`, signal);
  }

  [Symbol.dispose](): void {
    for (const { driver } of this.#entries.values()) driver[Symbol.dispose]();
    this.#entries.clear();
  }

  #tell(name: string): void {
    for (const listener of this.#listeners) listener(name);
  }

  #report(before: Driver | undefined, driver: Driver): void {
    const { name, endpoint, description } = driver;
    const fields = { driver: name, version: description.version, endpoint };
    const [was, is] = [before?.description.node?.nodeId, description.node?.nodeId];
    this.#logger.info({ ...fields, nodeId: is }, 'CSI driver is registered');
    if (before !== undefined && was !== is) {
      const message = 'CSI driver calls this node otherwise now; volumes leave with the old id';
      this.#logger.warn({ ...fields, nodeId: is, before: was }, message);
    }
  }
}

function isHigher(version: readonly number[], other: readonly number[]): boolean {
  for (const [index, part] of version.entries()) {
    const difference = part - (other[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** The highest of a plugin's versions that Keelson speaks: those of major version 1. */
export function supportedVersion(versions: readonly string[]): number[] | undefined {
  return versions
    .filter((each) => /^v?\d+\.\d+\.\d+$/.test(each))
    .map((each) => each.replace(/^v/, '').split('.').map(Number))
    .filter(([major]) => major === 1)
    .sort((a, b) => (isHigher(a, b) ? -1 : 1))[0];
}
