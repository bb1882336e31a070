import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ifExists,
  KeelsonError,
  type Logger,
  readTextIfExists,
  writeFileAtomic,
} from '../base/index.ts';

/** A record was replaced, or went. */
export interface RecordChange<T> {
  /** The record after the change; the last one if it went. */
  record: T;
  before: T;
  after: T | undefined;
}

interface Entry<T> {
  record: T;
  name: string;
}

/**
 * Records of one kind, in memory and on disk: one directory each, `<id>/record.json`.
 * The directory also holds the files that belong to the object; it goes with the record.
 */
export class RecordStore<T extends { id: string }> {
  readonly #directory: string;
  readonly #kind: string;
  readonly #nameOf: (record: T) => string;
  readonly #entries = new Map<string, Entry<T>>();
  readonly #ids = new Map<string, string>();
  readonly #listeners: ((change: RecordChange<T>) => void)[] = [];

  /** `kind` is what errors call a record; `nameOf` the name that no two records share. */
  constructor(directory: string, kind: string, nameOf: (record: T) => string) {
    this.#directory = directory;
    this.#kind = kind;
    this.#nameOf = nameOf;
  }

  /** Reads what is on disk. What cannot be read is moved to `asideDirectory` and reported. */
  async load(asideDirectory: string, logger: Logger): Promise<void> {
    // Root of a user namespace must get through to what of it lies below.
    await mkdir(this.#directory, { recursive: true, mode: 0o711 });
    for (const id of await readdir(this.#directory)) {
      try {
        const text = await readTextIfExists(join(this.directoryOf(id), 'record.json'));
        // Only a directory: the daemon died before it wrote the record. Nothing else was done.
        if (text === undefined) await rm(this.directoryOf(id), { recursive: true, force: true });
        else this.#index(this.#parse(id, text));
      } catch (error) {
        logger.error({ id, error }, `the record of a ${this.#kind} is unreadable: set aside`);
        await this.#setAside(id, asideDirectory, logger);
      }
    }
  }

  #parse(id: string, text: string): T {
    const record = JSON.parse(text) as T;
    if (record.id === id) return record;
    throw new KeelsonError('DATA_LOSS', `Cannot read the record of ${this.#kind} "${id}"`, {
      reason: `it is that of "${record.id}"`,
    });
  }

  async #setAside(id: string, asideDirectory: string, logger: Logger): Promise<void> {
    const aside = join(asideDirectory, `${this.#kind}-${id}`);
    try {
      await mkdir(asideDirectory, { recursive: true, mode: 0o700 });
      await ifExists(rename(this.directoryOf(id), aside));
    } catch (error) {
      logger.error({ id, aside, error }, `an unreadable ${this.#kind} stays where it is`);
    }
  }

  /** Reserves the record's name and writes it. Fails with ALREADY_EXISTS if the name is taken. */
  async add(record: T): Promise<void> {
    const name = this.#nameOf(record);
    const owner = this.#ids.get(name);
    if (owner !== undefined) {
      throw new KeelsonError('ALREADY_EXISTS', `Cannot create ${this.#kind} "${name}"`, {
        reason: `the name is reserved for "${owner}"`,
        hint: 'remove that one first, or use another attempt number',
      });
    }
    this.#index(record);
    await mkdir(this.directoryOf(record.id), { recursive: true, mode: 0o700 });
    await this.#write(record);
  }

  /** Replaces a record, in memory at once and then on disk. Fails with NOT_FOUND once it is removed. */
  async update(record: T, changes: Partial<T>): Promise<T> {
    const before = this.get(record.id);
    const next = { ...record, ...changes };
    this.#index(next);
    await this.#write(next);
    this.#tell({ record: next, before, after: next });
    return next;
  }

  /** Calls `listener` after each change that is on disk. */
  onChange(listener: (change: RecordChange<T>) => void): void {
    this.#listeners.push(listener);
  }

  /** Forgets a record and deletes its directory. Absence is fine. */
  async remove(id: string): Promise<void> {
    // The record's file goes first: a directory without one is no object any more.
    await rm(join(this.directoryOf(id), 'record.json'), { force: true });
    await rm(this.directoryOf(id), { recursive: true, force: true });
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    if (entry === undefined) return;
    if (this.#ids.get(entry.name) === id) this.#ids.delete(entry.name);
    this.#tell({ record: entry.record, before: entry.record, after: undefined });
  }

  /** By id, or by a prefix of the id that only one record has. */
  find(idOrPrefix: string): T | undefined {
    const exact = this.#entries.get(idOrPrefix);
    if (exact !== undefined) return exact.record;
    if (idOrPrefix === '') return undefined;
    const matches = [...this.#entries.keys()].filter((id) => id.startsWith(idOrPrefix));
    if (matches.length > 1) {
      throw new KeelsonError('INVALID_ARGUMENT', `Cannot find ${this.#kind} "${idOrPrefix}"`, {
        reason: `${matches.length} ids start with it`,
        hint: 'give more digits',
      });
    }
    return matches[0] === undefined ? undefined : this.#entries.get(matches[0])?.record;
  }

  /** As `find`, but fails with NOT_FOUND. */
  get(idOrPrefix: string): T {
    const record = this.find(idOrPrefix);
    if (record === undefined) {
      throw new KeelsonError('NOT_FOUND', `There is no ${this.#kind} "${idOrPrefix}"`);
    }
    return record;
  }

  list(): T[] {
    return [...this.#entries.values()].map((entry) => entry.record);
  }

  directoryOf(id: string): string {
    return join(this.#directory, id);
  }

  #tell(change: RecordChange<T>): void {
    for (const listener of this.#listeners) listener(change);
  }

  #index(record: T): void {
    const name = this.#nameOf(record);
    this.#entries.set(record.id, { record, name });
    this.#ids.set(name, record.id);
  }

  async #write(record: T): Promise<void> {
    await writeFileAtomic(join(this.directoryOf(record.id), 'record.json'), JSON.stringify(record));
  }
}
