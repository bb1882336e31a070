import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, NEVER, SILENT, withTimeout } from '../../src/base/index.ts';
import { CsiHost, type CsiHostOptions } from '../../src/csi/host.ts';
import { type Kind, parseManifest, type Ref, type Stored } from '../../src/csi/objects/index.ts';
import { listMounts, unmountAll } from '../../src/linux/index.ts';
import { waitFor } from './patience.ts';

/** A host side of CSI in this process, with directories of its own. */
export class TestHost implements AsyncDisposable {
  readonly directory: string;
  readonly endpoints: string[];
  readonly #changes: Partial<CsiHostOptions>;
  readonly logged: string[] = [];
  #host: CsiHost | undefined;

  private constructor(directory: string, endpoints: string[], changes: Partial<CsiHostOptions>) {
    this.directory = directory;
    this.endpoints = endpoints;
    this.#changes = changes;
  }

  static async start(
    endpoints: readonly string[],
    changes: Partial<CsiHostOptions> = {},
  ): Promise<TestHost> {
    const directory = await mkdtemp(join(tmpdir(), 'keelson-host-'));
    const test = new TestHost(directory, [...endpoints], changes);
    await test.open();
    return test;
  }

  get host(): CsiHost {
    if (this.#host === undefined) throw new Error('The host is closed');
    return this.#host;
  }

  get kubelet(): string {
    return join(this.directory, 'kubelet');
  }

  get secrets(): string {
    return join(this.directory, 'secrets');
  }

  /** Opens it, again after `close`, on the same directories. */
  async open(changes: Partial<CsiHostOptions> = {}): Promise<void> {
    this.#host = await CsiHost.open({
      logger: this.#logger(),
      objectsDirectory: join(this.directory, 'objects'),
      rootDirectory: this.kubelet,
      endpoints: this.endpoints,
      secretsDirectory: this.secrets,
      nodeName: 'test-node',
      callTimeout: 20_000,
      attachTimeout: 60_000,
      busyTimeout: 50,
      backOff: { first: 10, longest: 100 },
      extraMetadata: true,
      ...this.#changes,
      ...changes,
    });
    const { drivers } = this.#host;
    await waitFor('the drivers', () => drivers.list().length >= this.endpoints.length);
  }

  async close(): Promise<void> {
    await this.#host?.[Symbol.asyncDispose]();
    this.#host = undefined;
  }

  #logger(): Logger {
    const note = (fields: object, message: string) => {
      this.logged.push(`${message} ${JSON.stringify(fields, errorText)}`);
    };
    return { ...SILENT, debug: note, info: note, warn: note, error: note, child: () => SILENT };
  }

  async apply(...objects: object[]): Promise<void> {
    for (const object of objects) await this.host.store.apply(parseManifest(object));
  }

  get<K extends Kind>(kind: K, name: string): Stored<K> {
    return this.host.store.get({ kind, name });
  }

  find<K extends Kind>(kind: K, name: string): Stored<K> | undefined {
    return this.host.store.find({ kind, name });
  }

  bound(claim: string): Promise<unknown> {
    return waitFor(`claim "${claim}" to be bound`, () => {
      return this.get('PersistentVolumeClaim', claim).status?.phase === 'Bound';
    });
  }

  /** The volume of a bound claim. */
  volumeOf(claim: string): Stored<'PersistentVolume'> {
    const { volumeName = '' } = this.get('PersistentVolumeClaim', claim).spec;
    return this.get('PersistentVolume', volumeName);
  }

  /** Gives a claim to a pod whose uid is its name. */
  publish(
    claim: string,
    pod = 'pod-1',
    options: object = {},
  ): Promise<Stored<'VolumePublication'>> {
    const ref: Ref<'PersistentVolumeClaim'> = { kind: 'PersistentVolumeClaim', name: claim };
    const identity = { uid: pod, name: pod, namespace: 'default', serviceAccount: 'default' };
    const use = { pod: identity, readOnly: false, ...options };
    return this.host.volumes.publishClaim(ref, use, withTimeout(NEVER, 60_000));
  }

  async release(pod = 'pod-1'): Promise<void> {
    await this.host.volumes.release(pod);
    await this.host.volumes.released(pod, withTimeout(NEVER, 60_000));
  }

  events(kind: Kind, name: string): string[] {
    const namespace = kind === 'PersistentVolumeClaim' || kind === 'VolumeSnapshot';
    return this.host.events
      .of({ kind, name, ...(namespace ? { namespace: 'default' } : {}) })
      .map(({ reason, message }) => `${reason}: ${message}`);
  }

  /** Deletes an object and waits until it is gone. */
  async remove(kind: Kind, name: string): Promise<void> {
    await this.host.store.delete({ kind, name });
    await this.gone(kind, name);
  }

  gone(kind: Kind, name: string): Promise<unknown> {
    return waitFor(`${kind} "${name}" to go`, () => this.find(kind, name) === undefined);
  }

  /** All kinds of which there are objects, but for what an administrator made. */
  leftRecords(): string[] {
    const kinds = ['PersistentVolumeClaim', 'PersistentVolume', 'VolumeAttachment'] as const;
    const more = ['VolumeStage', 'VolumePublication', 'VolumeSnapshotContent'] as const;
    return [...kinds, ...more].flatMap((kind) =>
      this.host.store.list(kind).map(({ metadata }) => `${kind} ${metadata.name}`),
    );
  }

  /** Mounts and directories below the directory of volumes. */
  async leftOnDisk(): Promise<string[]> {
    const mounts = listMounts().filter(({ target }) => target.startsWith(`${this.kubelet}/`));
    const below = async (name: string) => {
      const found = await readdir(join(this.kubelet, name), { recursive: true }).catch(() => []);
      return found.map((path) => join(name, path));
    };
    const paths = [...(await below('pods')), ...(await below('plugins'))];
    const kept = new Set(['plugins/kubernetes.io', 'plugins/kubernetes.io/csi']);
    return [...mounts.map(({ target }) => target), ...paths.filter((path) => !kept.has(path))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    // Tests that end with volumes in pods: nothing of a mount may be deleted.
    for (const { target } of listMounts().reverse()) {
      if (target.startsWith(`${this.kubelet}/`)) unmountAll(target);
    }
    await rm(this.directory, { recursive: true, force: true });
  }
}

function errorText(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  return value instanceof Error ? `${value.message} ${String(value.cause)}` : value;
}

export const storageClass = (name: string, provisioner: string, spec: object = {}) => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name },
  provisioner,
  ...spec,
});

export const claim = (name: string, storageClassName: string, spec: object = {}) => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name },
  spec: {
    accessModes: ['ReadWriteOnce'],
    resources: { requests: { storage: '1Mi' } },
    storageClassName,
    ...spec,
  },
});

export const volume = (name: string, driver: string, csi: object = {}, spec: object = {}) => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name },
  spec: {
    capacity: { storage: '1Mi' },
    accessModes: ['ReadWriteOnce'],
    ...spec,
    csi: { driver, volumeHandle: name, ...csi },
  },
});

export const size = (storage: string) => ({ resources: { requests: { storage } } });
