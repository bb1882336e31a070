import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { onSpan } from '../base/index.ts';
import type { ImageStore } from '../oci/images/index.ts';
import type { Pods } from '../pods/index.ts';
import type { Exchange } from './exchange.ts';

/** Seconds. */
const BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];

/** Prometheus metrics of the daemon: how long each kind of work takes, and how much there is. */
export class Metrics implements Disposable {
  readonly #registry = new Registry();
  readonly #listening: Disposable;

  constructor(images: ImageStore, pods: Pods) {
    const registers = [this.#registry];
    // Sampling the event loop more often would be most of what an idle daemon does.
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: 1000 });
    const duration = new Histogram({
      name: 'keelson_operation_duration_seconds',
      help: 'How long operations took: CRI calls (cri.*), what they led to (oci.*, cni.*) and their steps.',
      labelNames: ['operation'],
      buckets: BUCKETS,
      registers,
    });
    const failures = new Counter({
      name: 'keelson_operation_failures_total',
      help: 'Operations that failed.',
      labelNames: ['operation'],
      registers,
    });
    this.#listening = onSpan(({ name, milliseconds, error }) => {
      duration.observe({ operation: name }, milliseconds / 1000);
      if (error !== undefined) failures.inc({ operation: name });
    });
    gauge(registers, 'keelson_pods', 'Pod sandboxes.', () => pods.sandboxes.list().length);
    gauge(registers, 'keelson_containers', 'Containers.', () => pods.containers.list().length);
    gauge(registers, 'keelson_images', 'Images.', () => images.list().length);
    gauge(
      registers,
      'keelson_image_bytes',
      'Bytes on disk of images.',
      () => images.usage().usedBytes,
    );
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
}

function gauge(registers: Registry[], name: string, help: string, read: () => number): void {
  new Gauge({
    ...{ name, help, registers },
    collect() {
      this.set(read());
    },
  });
}
