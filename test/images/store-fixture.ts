import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NEVER, SILENT } from '../../src/base/index.ts';
import {
  type ImageRecord,
  ImageStore,
  type ImageStoreOptions,
  type PullOptions,
} from '../../src/oci/images/index.ts';

export type TestStoreOptions = Partial<Omit<ImageStoreOptions, 'root'>>;

/** A store in a temporary directory, which is removed with it. */
export class TestStore implements AsyncDisposable {
  readonly root: string;
  store: ImageStore;
  #options: TestStoreOptions;

  private constructor(root: string, store: ImageStore, options: TestStoreOptions) {
    this.root = root;
    this.store = store;
    this.#options = options;
  }

  static async open(options: TestStoreOptions = {}): Promise<TestStore> {
    const root = mkdtempSync(join(tmpdir(), 'keelson-store-'));
    return new TestStore(root, await openStore(root, options), options);
  }

  /** Closes the store and opens it again, as a restart of the daemon does. */
  async reopen(options: TestStoreOptions = {}): Promise<void> {
    await this.store[Symbol.asyncDispose]();
    this.#options = { ...this.#options, ...options };
    this.store = await openStore(this.root, this.#options);
  }

  pull(reference: string, options: Partial<PullOptions> = {}): Promise<ImageRecord> {
    return this.store.pull(reference, { signal: NEVER, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]();
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Opens a store whose retries do not keep a test waiting. */
export function openStore(root: string, options: TestStoreOptions = {}): Promise<ImageStore> {
  return ImageStore.open({
    root,
    logger: SILENT,
    ...options,
    registry: { backOff: 5, attempts: 3, stallTimeout: 2000, ...options.registry },
  });
}
