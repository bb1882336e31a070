import { messageOf, Semaphore } from '../base/index.ts';
import {
  blockDevicePath,
  type CgroupDetails,
  type CgroupUsage,
  type DescriptorUsage,
  type DirectoryUsage,
  type FileSystem,
  hugepageSizes,
  type InterfaceUsage,
  Measuring,
  openFilesLimit,
  processesOf,
  readCgroupDetails,
  readCgroupUsage,
  readFileSystem,
  readNetworkUsage,
} from '../linux/index.ts';
import { cgroupDirectoryOf } from './cgroup-paths.ts';
import { containerPaths, storageDirectory } from './container-paths.ts';
import { KeptValues } from './kept-values.ts';
import type { Pods } from './pods.ts';
import { isLive } from './record-exit.ts';
import { type ContainerRecord, now, type SandboxRecord } from './records.ts';
import { containersOf } from './stop-sandbox.ts';

/** The usage of a cgroup at a moment. */
export interface Sample {
  /** Unix time in nanoseconds, as decimal digits. */
  at: string;
  usage: CgroupUsage;
  /** CPU time per second of wall time, in nanoseconds; undefined until there are two samples. */
  nanoCores: bigint | undefined;
}

export interface ContainerStatistics {
  container: ContainerRecord;
  /** Undefined for a container that does not run. */
  sample: Sample | undefined;
  writableLayer: { at: string; usage: DirectoryUsage; path: string } | undefined;
}

export interface SandboxStatistics {
  sandbox: SandboxRecord;
  sample: Sample | undefined;
  network: NetworkSample | undefined;
  containers: ContainerStatistics[];
}

export interface NetworkSample {
  at: string;
  interfaces: InterfaceUsage[];
}

/** What metrics tell of a container beyond its statistics. */
export interface ContainerDetails {
  at: string;
  cgroup: CgroupDetails;
  /** The files of block devices, as `major:minor`. */
  devicePaths: ReadonlyMap<string, string>;
  processes: number;
  openFilesLimit: number | undefined;
}

export interface ContainerMeasurements extends ContainerStatistics {
  details: ContainerDetails | undefined;
  descriptors: DescriptorUsage | undefined;
  /** Where the writable layers are. */
  fileSystem: FileSystem | undefined;
}

export interface SandboxMeasurements {
  sandbox: SandboxRecord;
  network: NetworkSample | undefined;
  containers: ContainerMeasurements[];
}

/** Milliseconds for which a sample is given again. */
const SAMPLE_LIFETIME = 1_000;
/** The same for what has to be looked for file by file. */
const WALK_LIFETIME = 15_000;
const FILE_SYSTEM_LIFETIME = 10_000;
/** No host has a million cores: a counter that says so jumped. */
const MOST_NANO_CORES = 10n ** 15n;

/**
 * Statistics of pods and containers, sampled when asked and kept for a moment. What cannot
 * be read, as its container has just gone, is left out: nothing here fails for it.
 */
export class Statistics implements AsyncDisposable {
  readonly #pods: Pods;
  readonly #measuring = new Measuring();
  readonly #samples = new KeptValues<Sample | undefined>(SAMPLE_LIFETIME);
  readonly #networks = new KeptValues<NetworkSample | undefined>(SAMPLE_LIFETIME);
  readonly #details = new KeptValues<ContainerDetails | undefined>(SAMPLE_LIFETIME);
  readonly #descriptors = new KeptValues<DescriptorUsage | undefined>(WALK_LIFETIME);
  readonly #layers = new KeptValues<ContainerStatistics['writableLayer']>(WALK_LIFETIME);
  readonly #fileSystems = new KeptValues<FileSystem | undefined>(FILE_SYSTEM_LIFETIME);
  readonly #inside = new Semaphore(1);
  #pageSizes: Promise<string[]> | undefined;

  constructor(pods: Pods) {
    this.#pods = pods;
    const kept = [this.#samples, this.#networks, this.#details, this.#descriptors, this.#layers];
    const forget = ({ record, after }: { record: { id: string }; after: unknown }) => {
      if (after === undefined) for (const values of kept) values.delete(record.id);
    };
    pods.containers.onChange(forget);
    pods.sandboxes.onChange(forget);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#measuring[Symbol.asyncDispose]();
  }

  async container(container: ContainerRecord): Promise<ContainerStatistics> {
    const { id, cgroupsPath } = container;
    const [sample, writableLayer] = await Promise.all([
      isLive(container) ? this.#sample(id, cgroupDirectoryOf(cgroupsPath)) : undefined,
      this.#layers.get(id, () =>
        this.#unlessItFails(id, () => this.#writableLayer(containerPaths(this.#pods, id).upper)),
      ),
    ]);
    return { container, sample, writableLayer };
  }

  async sandbox(sandbox: SandboxRecord): Promise<SandboxStatistics> {
    const [sample, network, containers] = await Promise.all([
      this.#sample(sandbox.id, this.#podCgroup(sandbox)),
      this.#network(sandbox),
      Promise.all(this.#live(sandbox).map((each) => this.container(each))),
    ]);
    return { sandbox, sample, network, containers };
  }

  /** All that can be measured of a pod and its containers. */
  async measurements(sandbox: SandboxRecord): Promise<SandboxMeasurements> {
    const [network, containers] = await Promise.all([
      this.#network(sandbox),
      Promise.all(this.#live(sandbox).map((each) => this.#containerMeasurements(each))),
    ]);
    return { sandbox, network, containers };
  }

  #live({ id }: SandboxRecord): ContainerRecord[] {
    return containersOf(this.#pods, id).filter(isLive);
  }

  async #containerMeasurements(container: ContainerRecord): Promise<ContainerMeasurements> {
    const { id } = container;
    const cgroup = cgroupDirectoryOf(container.cgroupsPath);
    const processes = () => processesOf(this.#pods.host.cgroups, cgroup);
    const storage = storageDirectory(this.#pods);
    const [statistics, details, descriptors, fileSystem] = await Promise.all([
      this.container(container),
      this.#details.get(id, () =>
        this.#unlessItFails(id, async () => this.#readDetails(cgroup, await processes())),
      ),
      this.#descriptors.get(id, () =>
        this.#unlessItFails(id, async () => this.#measuring.descriptors(await processes())),
      ),
      this.#fileSystems.get(storage, () => this.#unlessItFails(id, () => readFileSystem(storage))),
    ]);
    return { ...statistics, details, descriptors, fileSystem };
  }

  async #readDetails(cgroup: string, processes: readonly number[]): Promise<ContainerDetails> {
    this.#pageSizes ??= hugepageSizes();
    const details = await readCgroupDetails(this.#pods.host.cgroups, cgroup, await this.#pageSizes);
    const paths = await Promise.all(
      details.devices.map(async ({ major, minor }): Promise<[string, string]> => {
        const number = `${major}:${minor}`;
        return [number, (await blockDevicePath(major, minor)) ?? number];
      }),
    );
    const [first] = processes;
    return {
      at: now(),
      cgroup: details,
      devicePaths: new Map(paths),
      processes: processes.length,
      openFilesLimit: first === undefined ? undefined : await openFilesLimit(first),
    };
  }

  /** The pod's own cgroup: with systemd a slice, whose path has its parents in it. */
  #podCgroup({ cgroupParent }: SandboxRecord): string {
    return this.#pods.settings.cgroupDriver === 'systemd'
      ? cgroupDirectoryOf(`${cgroupParent}:x:x`).replace(/\/x-x\.scope$/, '')
      : cgroupParent;
  }

  #sample(id: string, cgroup: string): Promise<Sample | undefined> {
    return this.#samples.get(id, (last) =>
      this.#unlessItFails(id, async () => {
        const usage = await readCgroupUsage(this.#pods.host.cgroups, cgroup);
        if (usage === undefined) return undefined;
        const at = now();
        return { at, usage, nanoCores: rate(last, { at, usage }) };
      }),
    );
  }

  #network({ id, namespaces, state }: SandboxRecord): Promise<NetworkSample | undefined> {
    const { net } = namespaces;
    if (net === undefined || state.phase !== 'ready') return Promise.resolve(undefined);
    return this.#networks.get(id, () =>
      this.#unlessItFails(id, async () => {
        // Being in there holds the event loop, which gets its breath between two of them.
        using _ = await this.#inside.acquire();
        await new Promise<void>((resolve) => setImmediate(resolve));
        return { at: now(), interfaces: readNetworkUsage(net) };
      }),
    );
  }

  async #writableLayer(path: string): Promise<ContainerStatistics['writableLayer']> {
    const usage = await this.#measuring.directory(path);
    return usage === undefined ? undefined : { at: now(), usage, path };
  }

  async #unlessItFails<T>(id: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      this.#pods.logger.debug({ id, error }, `cannot measure: ${messageOf(error)}`);
      return undefined;
    }
  }
}

function rate(before: Sample | undefined, after: Omit<Sample, 'nanoCores'>): bigint | undefined {
  if (before?.usage.cpu === undefined || after.usage.cpu === undefined) return undefined;
  const elapsed = BigInt(after.at) - BigInt(before.at);
  const used = after.usage.cpu.usageNanoseconds - before.usage.cpu.usageNanoseconds;
  if (elapsed <= 0n || used < 0n) return undefined;
  const perSecond = (used * 1_000_000_000n) / elapsed;
  return perSecond < MOST_NANO_CORES ? perSecond : undefined;
}
