import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ErrorCode, messageOf } from '../../src/base/index.ts';
import {
  CsiClient,
  type CsiError,
  csiErrorOf,
  type DriverDescription,
  describeDriver,
} from '../../src/csi/protocol/index.ts';
import * as csi from '../../src/gen/csi/v1/csi.ts';
import { mount } from '../../src/linux/index.ts';
import { killLeftovers } from '../harness/index.ts';

const Mode = csi.VolumeCapability_AccessMode_Mode;

/** A driver under test, and how to ask it for volumes. */
export interface SanityOptions {
  /** Starts the driver, or says where it listens; `directory` is for its files. */
  start(directory: string): Promise<{ endpoint: string } & AsyncDisposable>;
  /** How volumes are used. */
  access: 'mount' | 'block';
  fsType?: string;
  parameters?: Record<string, string>;
  /** Bytes. Default 10 MiB. */
  size?: bigint;
  /** Whether a file system grows while it is mounted; default true. ext4 wants CAP_SYS_RESOURCE. */
  growsMounted?: boolean;
}

/** A driver that runs, with everything that a test makes noted, to be taken away after it. */
export class Subject implements AsyncDisposable {
  readonly client: CsiClient;
  readonly about: DriverDescription;
  readonly directory: string;
  readonly options: SanityOptions;
  readonly size: bigint;
  readonly #driver: AsyncDisposable;
  readonly #undo: (() => Promise<unknown>)[] = [];
  #last = 0;

  private constructor(
    directory: string,
    options: SanityOptions,
    parts: { client: CsiClient; about: DriverDescription; driver: AsyncDisposable },
  ) {
    this.directory = directory;
    this.options = options;
    this.size = options.size ?? 10n << 20n;
    this.client = parts.client;
    this.about = parts.about;
    this.#driver = parts.driver;
  }

  static async start(options: SanityOptions): Promise<Subject> {
    const directory = await mkdtemp(join(tmpdir(), 'keelson-csi-'));
    // In memory: drivers flush a lot, and other tests keep the disk busy.
    mount({ source: 'tmpfs', target: directory, type: 'tmpfs', data: 'size=4g' });
    const driver = await options.start(directory);
    const client = new CsiClient(driver.endpoint);
    const about = await describeDriver(client);
    return new Subject(directory, options, { client, about, driver });
  }

  get has() {
    const { controller, node } = this.about;
    return {
      controller: (name: (typeof controller)[number]) => controller.includes(name),
      node: (name: NonNullable<typeof node>['capabilities'][number]) =>
        node?.capabilities.includes(name) ?? false,
    };
  }

  /** A name that no other test uses. */
  name(what = 'volume'): string {
    return `sanity-${what}-${process.pid}-${++this.#last}`;
  }

  capability(mode: number = Mode.SINGLE_NODE_WRITER): csi.VolumeCapability {
    const { access, fsType = '' } = this.options;
    return csi.VolumeCapability.fromPartial({
      accessType:
        access === 'block' ? { $case: 'block', value: {} } : { $case: 'mount', value: { fsType } },
      accessMode: { mode: mode as csi.VolumeCapability_AccessMode_Mode },
    });
  }

  creation(more: csi.DeepPartial<csi.CreateVolumeRequest> = {}): csi.CreateVolumeRequest {
    return csi.CreateVolumeRequest.fromPartial({
      name: this.name(),
      capacityRange: { requiredBytes: this.size },
      volumeCapabilities: [this.capability()],
      parameters: this.options.parameters ?? {},
      ...more,
    });
  }

  async create(more: csi.DeepPartial<csi.CreateVolumeRequest> = {}): Promise<csi.Volume> {
    const { volume } = await this.client.controller.createVolume(this.creation(more));
    if (volume === undefined) throw new Error('no volume');
    this.#undo.push(() =>
      this.client.controller.deleteVolume({ volumeId: volume.volumeId, secrets: {} }),
    );
    return volume;
  }

  async snapshot(sourceVolumeId: string, name = this.name('snapshot')): Promise<csi.Snapshot> {
    const request = csi.CreateSnapshotRequest.fromPartial({ sourceVolumeId, name });
    const { snapshot } = await this.client.controller.createSnapshot(request);
    if (snapshot === undefined) throw new Error('no snapshot');
    this.#undo.push(() =>
      this.client.controller.deleteSnapshot({ snapshotId: snapshot.snapshotId, secrets: {} }),
    );
    return snapshot;
  }

  /** Attaches and stages, as far as the driver wants it, and answers the staging path. */
  async stage(
    volume: csi.Volume,
    more: csi.DeepPartial<csi.NodeStageVolumeRequest> = {},
  ): Promise<string> {
    if (!this.has.node('STAGE_UNSTAGE_VOLUME')) return '';
    const path = join(this.directory, this.name('staging'));
    await mkdir(path, { recursive: true });
    const request = csi.NodeStageVolumeRequest.fromPartial({
      volumeId: volume.volumeId,
      stagingTargetPath: path,
      volumeCapability: this.capability(),
      volumeContext: volume.volumeContext,
      ...more,
    });
    this.#undo.push(() => this.unstage(volume, path));
    await this.client.node.nodeStageVolume(request);
    return path;
  }

  async unstage({ volumeId }: csi.Volume, stagingTargetPath: string): Promise<void> {
    if (stagingTargetPath === '') return;
    await this.client.node.nodeUnstageVolume({ volumeId, stagingTargetPath });
  }

  publication(
    volume: csi.Volume,
    stagingTargetPath: string,
    more: csi.DeepPartial<csi.NodePublishVolumeRequest> = {},
  ): csi.NodePublishVolumeRequest {
    return csi.NodePublishVolumeRequest.fromPartial({
      volumeId: volume.volumeId,
      stagingTargetPath,
      targetPath: join(this.directory, this.name('target')),
      volumeCapability: this.capability(),
      volumeContext: volume.volumeContext,
      ...more,
    });
  }

  /** Publishes, and answers the target path. */
  async publish(
    volume: csi.Volume,
    stagingTargetPath: string,
    more: csi.DeepPartial<csi.NodePublishVolumeRequest> = {},
  ): Promise<string> {
    const request = this.publication(volume, stagingTargetPath, more);
    this.#undo.push(() => this.unpublish(volume, request.targetPath));
    await this.client.node.nodePublishVolume(request);
    return request.targetPath;
  }

  async unpublish({ volumeId }: { volumeId: string }, targetPath: string): Promise<void> {
    await this.client.node.nodeUnpublishVolume({ volumeId, targetPath });
  }

  /** Takes away, last first, what the test has made. */
  async cleanUp(): Promise<void> {
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) await undo();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.#driver[Symbol.asyncDispose]();
    await killLeftovers(this.directory);
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** The code that a call fails with. */
export async function codeOfFailure(work: Promise<unknown>): Promise<ErrorCode | string> {
  return (await failureOf(work)).code;
}

export async function failureOf(work: Promise<unknown>): Promise<CsiError> {
  try {
    await work;
  } catch (error) {
    const failure = csiErrorOf(error);
    if (failure?.answered) return failure;
    throw new Error(`not an answer of the driver: ${messageOf(error)}`, { cause: error });
  }
  throw new Error('the call should have failed');
}
