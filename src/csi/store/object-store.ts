import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { KeelsonError, KeyedLock, type Logger } from '../../base/index.ts';
import {
  applyTo,
  describeRef,
  type Kind,
  keyOf,
  type Manifest,
  parseObject,
  type Ref,
  refOf,
  type Stored,
} from '../objects/index.ts';
import { type ObjectFile, ObjectFiles } from './object-files.ts';

export interface Change {
  type: 'added' | 'modified' | 'deleted';
  object: Stored;
}

export interface StoreOptions {
  /** Belongs to this store alone. */
  directory: string;
  logger: Logger;
}

/** What became of a user's manifest. */
export interface Applied<K extends Kind> {
  readonly object: Stored<K>;
  readonly result: 'created' | 'changed' | 'unchanged';
}

type Listener = (change: Change) => void;

/**
 * The volume objects, durable and in memory. One file for each object: an administrator can
 * read and copy them with nothing at hand, a file that is broken harms one object, and a
 * write is one fsync and one rename. There are hundreds of objects, not millions, and no
 * query that a walk over them does not answer; an embedded database would add a format
 * without taking anything away.
 *
 * What callers see is always on disk already. An object that has finalizers is only marked
 * by `delete`, and goes when the last finalizer has gone.
 */
export class ObjectStore {
  readonly #files: ObjectFiles;
  readonly #objects = new Map<string, Stored>();
  readonly #locks = new KeyedLock();
  readonly #listeners = new Set<Listener>();
  #version = 0;

  private constructor(files: ObjectFiles) {
    this.#files = files;
  }

  /** Reads all objects. A file that cannot be read is set aside and reported. */
  static async open({ directory, logger }: StoreOptions): Promise<ObjectStore> {
    const files = new ObjectFiles(directory, logger);
    const store = new ObjectStore(files);
    for (const object of await files.load()) store.#take(object);
    return store;
  }

  /** Files that could not be read, where they lie now. */
  get unreadable(): readonly ObjectFile[] {
    return this.#files.unreadable;
  }

  find<K extends Kind>(ref: Ref<K>): Stored<K> | undefined {
    return this.#objects.get(keyOf(ref)) as Stored<K> | undefined;
  }

  get<K extends Kind>(ref: Ref<K>): Stored<K> {
    const found = this.find(ref);
    if (found !== undefined) return found;
    throw new KeelsonError('NOT_FOUND', `There is no ${describeRef(ref)}`);
  }

  /** Of one kind, by namespace and name. */
  list<K extends Kind>(kind: K): Stored<K>[] {
    return [...this.#objects.entries()]
      .filter(([, object]) => object.kind === kind)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object as Stored<K>);
  }

  /** Calls `listener` after each change, in the order of each object's changes. */
  watch(listener: Listener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** Stores a new object. Fails with ALREADY_EXISTS when there is one of that name. */
  async create<K extends Kind>(manifest: Manifest<K>): Promise<Stored<K>> {
    const object = structuredClone(manifest) as Stored<K>;
    object.metadata = {
      ...object.metadata,
      uid: randomUUID(),
      creationTimestamp: new Date().toISOString(),
    };
    delete object.metadata.deletionTimestamp;
    const ref = refOf(object as Stored) as Ref<K>;
    using _lock = await this.#locks.acquire(keyOf(ref));
    if (this.find(ref) !== undefined) {
      throw new KeelsonError('ALREADY_EXISTS', `Cannot create ${describeRef(ref)}`, {
        reason: 'there is one already',
      });
    }
    return await this.#write(object, 'added');
  }

  /**
   * Creates what a user's manifest says, or changes what is there accordingly. What only a
   * server may say (status, uid, deletion) does not count.
   */
  async apply<K extends Kind>(given: Manifest<K>): Promise<Applied<K>> {
    const manifest = withoutServerFields(given);
    const ref = refOf(manifest as Stored) as Ref<K>;
    if (this.find(ref) === undefined) {
      return { object: await this.create(manifest), result: 'created' };
    }
    let result: Applied<K>['result'] = 'unchanged';
    const object = await this.change(ref, (before) => {
      const after = applyTo(before, manifest);
      if (isDeepStrictEqual(before, after)) return before;
      result = 'changed';
      return after;
    });
    return { object, result };
  }

  /**
   * Changes one object; nobody else does meanwhile. `work` answers the object as it shall
   * be, or the same one for no change. Undefined if the object is not there.
   */
  async changeIfThere<K extends Kind>(
    ref: Ref<K>,
    work: (object: Stored<K>) => Stored<K>,
  ): Promise<Stored<K> | undefined> {
    using _lock = await this.#locks.acquire(keyOf(ref));
    const before = this.find(ref);
    if (before === undefined) return undefined;
    const after = work(before);
    if (isDeepStrictEqual(after, before)) return before;
    const { deletionTimestamp, finalizers = [] } = after.metadata;
    if (deletionTimestamp === undefined || finalizers.length > 0) {
      return await this.#write(after, 'modified');
    }
    await this.#remove(after);
    return after;
  }

  /** As `changeIfThere`, but fails with NOT_FOUND. */
  async change<K extends Kind>(
    ref: Ref<K>,
    work: (object: Stored<K>) => Stored<K>,
  ): Promise<Stored<K>> {
    return (await this.changeIfThere(ref, work)) ?? this.get(ref);
  }

  /** Removes an object, or marks it when finalizers hold it. Absence is fine. */
  async delete<K extends Kind>(ref: Ref<K>): Promise<void> {
    using _lock = await this.#locks.acquire(keyOf(ref));
    const object = this.find(ref);
    if (object === undefined) return;
    if ((object.metadata.finalizers ?? []).length === 0) return await this.#remove(object);
    if (object.metadata.deletionTimestamp !== undefined) return;
    const marked = structuredClone(object);
    marked.metadata.deletionTimestamp = new Date().toISOString();
    await this.#write(marked, 'modified');
  }

  async #write<K extends Kind>(object: Stored<K>, type: Change['type']): Promise<Stored<K>> {
    const version = Math.max(this.#version, Number(object.metadata.resourceVersion ?? 0)) + 1;
    this.#version = version;
    const metadata = { ...object.metadata, resourceVersion: String(version) };
    const next = JSON.parse(JSON.stringify({ ...object, metadata })) as Stored<K>;
    // A controller's mistake must not become a record that the next start cannot read.
    parseObject(object.kind, next);
    await this.#files.write(next as Stored);
    this.#take(next as Stored);
    this.#tell({ type, object: next as Stored });
    return next;
  }

  async #remove(object: Stored): Promise<void> {
    await this.#files.remove(object);
    this.#objects.delete(keyOf(refOf(object)));
    this.#tell({ type: 'deleted', object });
  }

  #take(object: Stored): void {
    this.#version = Math.max(this.#version, Number(object.metadata.resourceVersion));
    this.#objects.set(keyOf(refOf(object)), frozen(object));
  }

  #tell(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }
}

function withoutServerFields<K extends Kind>(manifest: Manifest<K>): Manifest<K> {
  const { name, namespace, labels, annotations, ownerReferences } =
    manifest.metadata as Stored<'PersistentVolumeClaim'>['metadata'];
  const { status: _, ...rest } = manifest as Manifest<'PersistentVolumeClaim'>;
  const metadata = { name, namespace, labels, annotations, ownerReferences };
  return JSON.parse(JSON.stringify({ ...rest, metadata })) as Manifest<K>;
}

function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const child of Object.values(value)) frozen(child);
  }
  return value;
}
