import { statfs } from 'node:fs/promises';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { ifExists, onSpan, onSpanStart } from '../base/index.ts';
import type { ImageStore } from '../oci/images/index.ts';
import type { Pods } from '../pods/index.ts';
import type { Exchange } from './exchange.ts';

/** Seconds. */
const BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];

const STATES = {
  pods: ['creating', 'ready', 'stopped'],
  containers: ['creating', 'created', 'running', 'exited'],
} as const;

/** Prometheus metrics of the daemon: how long each kind of work takes, and how much there is. */
export class Metrics implements Disposable {
  readonly #registry = new Registry();
  readonly #listening = new DisposableStack();

  constructor(images: ImageStore, pods: Pods) {
    // Sampling the event loop more often would be most of what an idle daemon does.
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: 1000 });
    this.#countOperations();
    this.#countPods(pods);
    this.#gauge('keelson_images', 'Images.', () => images.list().length);
    this.#gauge('keelson_image_bytes', 'Bytes on disk of images.', () => images.usage().usedBytes);
    this.#measureDisk(pods.settings.rootDirectory);
  }

  async answer({ response }: Exchange): Promise<void> {
    const text = await this.#registry.metrics();
    response.writeHead(200, { 'Content-Type': this.#registry.contentType });
    response.end(text);
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    this.#registry.clear();
  }

  /** Spans tell of each operation when it starts and ends. */
  #countOperations(): void {
    const registers = [this.#registry];
    const duration = new Histogram({
      name: 'keelson_operation_duration_seconds',
      help: 'How long operations took: CRI calls (cri.*), what they led to (oci.*, conmon.*, cni.*, image.*, registry.*, mount.*) and their steps.',
      labelNames: ['operation'],
      buckets: BUCKETS,
      registers,
    });
    const failures = new Counter({
      name: 'keelson_operation_failures_total',
      help: 'Operations that failed, by the gRPC code of the error.',
      labelNames: ['operation', 'code'],
      registers,
    });
    const open = new Gauge({
      name: 'keelson_operations_in_progress',
      help: 'Operations that are under way; of streaming.* and cri.GetContainerEvents open streams.',
      labelNames: ['operation'],
      registers,
    });
    this.#listening.use(onSpanStart(({ name }) => open.inc({ operation: name })));
    this.#listening.use(
      onSpan(({ name, milliseconds, error, code = 'UNKNOWN' }) => {
        open.dec({ operation: name });
        duration.observe({ operation: name }, milliseconds / 1000);
        if (error !== undefined) failures.inc({ operation: name, code });
      }),
    );
  }

  #countPods(pods: Pods): void {
    const { sandboxes, containers } = pods;
    this.#states('keelson_pods', 'Pod sandboxes.', STATES.pods, () =>
      sandboxes.list().map(({ state }) => state.phase),
    );
    this.#states('keelson_containers', 'Containers.', STATES.containers, () =>
      containers.list().map(({ state }) => state.phase),
    );
    const exits = new Counter({
      name: 'keelson_container_exits_total',
      help: 'Containers that ended, by the reason, such as Completed, Error or OOMKilled.',
      labelNames: ['reason'],
      registers: [this.#registry],
    });
    let counting = true;
    this.#listening.defer(() => {
      counting = false;
    });
    containers.onChange(({ before, after }) => {
      if (!counting || before.state.phase === 'exited' || after?.state.phase !== 'exited') return;
      exits.inc({ reason: after.state.reason });
    });
  }

  #states<State extends string>(
    name: string,
    help: string,
    states: readonly State[],
    read: () => readonly State[],
  ): void {
    new Gauge({
      ...{ name, help, labelNames: ['state'], registers: [this.#registry] },
      collect() {
        const now = read();
        for (const state of states) {
          this.set({ state }, now.filter((each) => each === state).length);
        }
      },
    });
  }

  #measureDisk(directory: string): void {
    new Gauge({
      name: 'keelson_disk_bytes',
      help: 'The file system where images and writable layers lie.',
      labelNames: ['kind'],
      registers: [this.#registry],
      async collect() {
        const disk = await ifExists(statfs(directory));
        if (disk === undefined) return;
        this.set({ kind: 'size' }, disk.blocks * disk.bsize);
        this.set({ kind: 'available' }, disk.bavail * disk.bsize);
      },
    });
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      ...{ name, help, registers: [this.#registry] },
      collect() {
        this.set(read());
      },
    });
  }
}
