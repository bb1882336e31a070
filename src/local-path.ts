import type { Logger } from './base/index.ts';
import { HOSTPATH_DRIVER, HostPathDriver } from './csi/hostpath/index.ts';
import { type CsiHost, DEFAULT_CLASS, DEFAULT_SNAPSHOT_CLASS, type Manifest } from './csi/index.ts';
import { DriverServer } from './csi/kit/index.ts';

export interface LocalPathOptions {
  /** Where the volumes are kept. */
  directory: string;
  /** Where the driver listens, as any other does. */
  endpoint: string;
  version: string;
  logger: Logger;
}

/** What the classes of this driver are called. */
const NAME = 'local-path';

/** The host-path driver in this process: volumes of this disk, without anything to install. */
export class LocalPath implements AsyncDisposable {
  readonly endpoint: string;
  readonly #parts: AsyncDisposableStack;

  private constructor(endpoint: string, parts: AsyncDisposableStack) {
    this.endpoint = endpoint;
    this.#parts = parts;
  }

  static async open(options: LocalPathOptions): Promise<LocalPath> {
    const { directory, endpoint, version, logger } = options;
    await using parts = new AsyncDisposableStack();
    const { driver } = parts.use(await HostPathDriver.open({ root: directory, version, logger }));
    parts.use(await DriverServer.open(driver, { endpoint, logger }));
    return new LocalPath(endpoint, parts.move());
  }

  /** Makes the classes of the driver unless there are any of their names. */
  async offer({ store }: CsiHost): Promise<void> {
    const name = NAME;
    if (store.find({ kind: 'StorageClass', name }) === undefined) {
      // Whoever has chosen a default class keeps it.
      const chosen = store
        .list('StorageClass')
        .some(({ metadata }) => metadata.annotations?.[DEFAULT_CLASS] === 'true');
      await store.create<'StorageClass'>(storageClass(!chosen));
    }
    if (store.find({ kind: 'VolumeSnapshotClass', name }) === undefined) {
      await store.create<'VolumeSnapshotClass'>({
        apiVersion: 'snapshot.storage.k8s.io/v1',
        kind: 'VolumeSnapshotClass',
        metadata: { name, annotations: { [DEFAULT_SNAPSHOT_CLASS]: 'true' } },
        driver: HOSTPATH_DRIVER,
        deletionPolicy: 'Delete',
      });
    }
    if (store.find({ kind: 'CSIDriver', name: HOSTPATH_DRIVER }) !== undefined) return;
    await store.create<'CSIDriver'>({
      apiVersion: 'storage.k8s.io/v1',
      kind: 'CSIDriver',
      metadata: { name: HOSTPATH_DRIVER },
      spec: {
        attachRequired: false,
        podInfoOnMount: true,
        fsGroupPolicy: 'File',
        seLinuxMount: false,
        volumeLifecycleModes: ['Persistent', 'Ephemeral'],
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts[Symbol.asyncDispose]();
  }
}

function storageClass(isDefault: boolean): Manifest<'StorageClass'> {
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: NAME, ...(isDefault ? { annotations: { [DEFAULT_CLASS]: 'true' } } : {}) },
    provisioner: HOSTPATH_DRIVER,
    reclaimPolicy: 'Delete',
    volumeBindingMode: 'WaitForFirstConsumer',
    allowVolumeExpansion: true,
  };
}
