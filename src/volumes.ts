import { join } from 'node:path';
import { type Logger, messageOf } from './base/index.ts';
import type { Config } from './config/index.ts';
import { CsiHost } from './csi/index.ts';
import { LocalPath } from './local-path.ts';
import type { Pods } from './pods/index.ts';

/** How often it is looked for volumes that were made ready for a pod that never came. */
const SWEEP = 60_000;
/** Milliseconds that a pod has to come after its volumes are ready. */
const PATIENCE = 10 * 60_000;

/** The host side of CSI, tied to the pods of this daemon. */
class Volumes implements AsyncDisposable {
  readonly #host: CsiHost;
  readonly #pods: Pods;
  readonly #logger: Logger;
  readonly #sweep: NodeJS.Timeout;
  #closed = false;

  constructor(host: CsiHost, pods: Pods, logger: Logger) {
    this.#host = host;
    this.#pods = pods;
    this.#logger = logger;
    pods.sandboxes.onChange(({ record, after }) => {
      if (after === undefined && !this.#closed) this.#release(record.config.metadata.uid);
    });
    this.#sweep = setInterval(() => this.#releaseForgotten(PATIENCE), SWEEP);
    this.#sweep.unref();
    // Pods that went while there was no daemon.
    this.#releaseForgotten(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweep);
    await this.#host[Symbol.asyncDispose]();
  }

  #releaseForgotten(patience: number): void {
    for (const { spec, metadata, status } of this.#host.store.list('VolumePublication')) {
      const age = Date.now() - Date.parse(metadata.creationTimestamp);
      if (status.phase === 'Published' && age >= patience) this.#release(spec.pod.uid);
    }
  }

  /** A pod may have several sandboxes, one after the other: the last one counts. */
  #release(uid: string): void {
    const lives = this.#pods.sandboxes.list().some(({ config }) => config.metadata.uid === uid);
    if (lives || this.#host.volumes.ofPod(uid).length === 0) return;
    this.#host.volumes.release(uid).catch((error: unknown) => {
      this.#logger.error({ pod: uid, error }, `cannot release volumes: ${messageOf(error)}`);
    });
  }
}

/** Volumes of this daemon, with the driver for this disk where one is wished for. */
export async function openVolumes(
  config: Config,
  { logger, pods, version }: { logger: Logger; pods: Pods; version: string },
): Promise<AsyncDisposable & { readonly host: CsiHost }> {
  const { csi } = config;
  await using parts = new AsyncDisposableStack();
  const local =
    csi.localPathDir === undefined
      ? undefined
      : parts.use(
          await LocalPath.open({
            directory: csi.localPathDir,
            endpoint: `unix://${join(config.state, 'local-path.sock')}`,
            ...{ logger, version },
          }),
        );
  const host = await CsiHost.open({
    logger,
    objectsDirectory: join(config.root, 'csi', 'objects'),
    rootDirectory: csi.root,
    registrationDirectory: csi.registrationDir,
    endpoints: local === undefined ? csi.endpoints : [...csi.endpoints, local.endpoint],
    secretsDirectory: csi.secretsDir,
    nodeName: csi.nodeName,
    callTimeout: csi.callTimeout,
    attachTimeout: csi.attachTimeout,
    busyTimeout: csi.busyTimeout,
    backOff: { first: csi.retryFirst, longest: csi.retryLongest },
    extraMetadata: csi.extraCreateMetadata,
  });
  parts.use(new Volumes(host, pods, logger));
  await local?.offer(host);
  const all = parts.move();
  return { host, [Symbol.asyncDispose]: () => all[Symbol.asyncDispose]() };
}
