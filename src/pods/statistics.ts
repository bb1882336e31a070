import {
  type CgroupUsage,
  type DirectoryUsage,
  directoryUsage,
  type InterfaceUsage,
  readCgroupUsage,
  readNetworkUsage,
} from '../linux/index.ts';
import { cgroupDirectoryOf } from './cgroup-paths.ts';
import { containerPaths } from './container-paths.ts';
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
  interfaces: InterfaceUsage[];
  containers: ContainerStatistics[];
}

/** Samples younger than this, in milliseconds, are given again: callers come in bursts. */
const SAMPLE_LIFETIME = 1_000;
/** The same for the sizes of writable layers, which cost a walk. */
const LAYER_LIFETIME = 15_000;

interface Cached<T> {
  taken: number;
  value: Promise<T>;
}

/** Statistics of pods and containers, sampled when asked and kept for a moment. */
export class Statistics {
  readonly #pods: Pods;
  readonly #samples = new Map<string, Cached<Sample | undefined>>();
  readonly #layers = new Map<string, Cached<ContainerStatistics['writableLayer']>>();

  constructor(pods: Pods) {
    this.#pods = pods;
    const forget = ({ record, after }: { record: { id: string }; after: unknown }) => {
      if (after !== undefined) return;
      this.#samples.delete(record.id);
      this.#layers.delete(record.id);
    };
    pods.containers.onChange(forget);
    pods.sandboxes.onChange(forget);
  }

  async container(container: ContainerRecord): Promise<ContainerStatistics> {
    const [sample, writableLayer] = await Promise.all([
      isLive(container)
        ? this.#sample(container.id, cgroupDirectoryOf(container.cgroupsPath))
        : undefined,
      this.#writableLayer(container.id),
    ]);
    return { container, sample, writableLayer };
  }

  async sandbox(sandbox: SandboxRecord): Promise<SandboxStatistics> {
    const { id, namespaces, state } = sandbox;
    const [sample, containers] = await Promise.all([
      this.#sample(id, this.#podCgroup(sandbox)),
      Promise.all(
        containersOf(this.#pods, id)
          .filter(isLive)
          .map((each) => this.container(each)),
      ),
    ]);
    const interfaces =
      namespaces.net === undefined || state.phase !== 'ready'
        ? []
        : readNetworkUsage(namespaces.net);
    return { sandbox, sample, interfaces, containers };
  }

  /** The pod's own cgroup: with systemd a slice, whose path has its parents in it. */
  #podCgroup({ cgroupParent }: SandboxRecord): string {
    return this.#pods.settings.cgroupDriver === 'systemd'
      ? cgroupDirectoryOf(`${cgroupParent}:x:x`).replace(/\/x-x\.scope$/, '')
      : cgroupParent;
  }

  #sample(id: string, cgroup: string): Promise<Sample | undefined> {
    const before = this.#samples.get(id);
    if (before !== undefined && performance.now() - before.taken < SAMPLE_LIFETIME) {
      return before.value;
    }
    const value = this.#take(cgroup, before?.value);
    this.#samples.set(id, { taken: performance.now(), value });
    return value;
  }

  async #take(
    cgroup: string,
    before: Promise<Sample | undefined> | undefined,
  ): Promise<Sample | undefined> {
    const [usage, last] = await Promise.all([
      readCgroupUsage(this.#pods.host.cgroups, cgroup),
      before,
    ]);
    if (usage === undefined) return undefined;
    const at = now();
    return { at, usage, nanoCores: rate(last, { at, usage }) };
  }

  #writableLayer(id: string): Promise<ContainerStatistics['writableLayer']> {
    const before = this.#layers.get(id);
    if (before !== undefined && performance.now() - before.taken < LAYER_LIFETIME) {
      return before.value;
    }
    const value = this.#measure(containerPaths(this.#pods, id).upper);
    this.#layers.set(id, { taken: performance.now(), value });
    return value;
  }

  async #measure(path: string): Promise<ContainerStatistics['writableLayer']> {
    const usage = await directoryUsage(path);
    return usage === undefined ? undefined : { at: now(), usage, path };
  }
}

function rate(before: Sample | undefined, after: Omit<Sample, 'nanoCores'>): bigint | undefined {
  if (before?.usage.cpu === undefined || after.usage.cpu === undefined) return undefined;
  const elapsed = BigInt(after.at) - BigInt(before.at);
  const used = after.usage.cpu.usageNanoseconds - before.usage.cpu.usageNanoseconds;
  return elapsed <= 0n || used < 0n ? undefined : (used * 1_000_000_000n) / elapsed;
}
