import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../base/index.ts';
import {
  Attacher,
  type BackOff,
  Binder,
  Events,
  Provisioner,
  Reclaimer,
  Resizer,
  Snapshotter,
} from './controllers/index.ts';
import { CsiNodes } from './csi-nodes.ts';
import {
  NodeController,
  type NodeParts,
  NodePaths,
  NodeVolumes,
  recoverNode,
} from './node/index.ts';
import { Drivers, PluginRegistry } from './registration/index.ts';
import { SecretReader } from './requests/index.ts';
import { ObjectStore } from './store/index.ts';

export interface CsiHostOptions {
  readonly logger: Logger;
  /** Where the volume objects are kept. */
  readonly objectsDirectory: string;
  /** What a kubelet calls its root directory: mounts of volumes lie below. */
  readonly rootDirectory: string;
  /** Where plugins put their registration sockets. Default: `plugins_registry` below the root. */
  readonly registrationDirectory?: string | undefined;
  /** Sockets of drivers that register nowhere. */
  readonly endpoints: readonly string[];
  readonly secretsDirectory: string;
  readonly nodeName: string;
  /** Milliseconds. */
  readonly callTimeout: number;
  readonly attachTimeout: number;
  readonly busyTimeout: number;
  readonly backOff: BackOff;
  readonly extraMetadata: boolean;
}

/** What is looked at anew on request. */
interface Controller extends AsyncDisposable {
  resync(): void;
}

/** Objects that each controller works on at the same time. */
const WORKERS = 10;

/**
 * The host side of CSI on one machine: the objects, the drivers, the controllers that
 * Kubernetes runs as sidecars, and the volumes of pods.
 */
export class CsiHost implements AsyncDisposable {
  readonly store: ObjectStore;
  readonly drivers: Drivers;
  readonly events: Events;
  readonly volumes: NodeVolumes;
  readonly node: NodeParts;
  readonly #controllers: readonly Controller[];
  readonly #parts: AsyncDisposableStack;

  private constructor(
    node: NodeParts,
    volumes: NodeVolumes,
    controllers: readonly Controller[],
    parts: AsyncDisposableStack,
  ) {
    this.node = node;
    this.store = node.store;
    this.drivers = node.drivers;
    this.events = node.events;
    this.volumes = volumes;
    this.#controllers = controllers;
    this.#parts = parts;
  }

  static async open(options: CsiHostOptions): Promise<CsiHost> {
    await using opening = new AsyncDisposableStack();
    const paths = new NodePaths(options.rootDirectory);
    await mkdir(options.rootDirectory, { recursive: true, mode: 0o750 });
    const { logger } = options;
    const drivers = opening.use(new Drivers(logger));
    const node = await nodeParts(options, drivers, paths);
    await recoverNode(node);
    opening.use(new CsiNodes(node));
    const volumes = new NodeVolumes(node);
    const controllers = [
      opening.use(new Binder(node)),
      opening.use(new Provisioner({ ...node, extraMetadata: options.extraMetadata })),
      opening.use(new Reclaimer(node)),
      opening.use(new Attacher(node)),
      opening.use(new Snapshotter(node)),
      opening.use(new Resizer({ ...node, expander: volumes })),
      opening.use(new NodeController(node)),
    ];
    opening.use(
      await PluginRegistry.open({
        directory: options.registrationDirectory ?? paths.registration,
        endpoints: options.endpoints,
        drivers,
        logger,
        callTimeout: options.callTimeout,
      }),
    );
    return new CsiHost(node, volumes, controllers, opening.move());
  }

  /** Ends the pauses after failures: someone has changed something, or waits. */
  retry(): void {
    for (const controller of this.#controllers) controller.resync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts[Symbol.asyncDispose]();
  }
}

async function nodeParts(
  options: CsiHostOptions,
  drivers: Drivers,
  paths: NodePaths,
): Promise<NodeParts> {
  const { logger, nodeName, attachTimeout, busyTimeout, backOff } = options;
  return {
    store: await ObjectStore.open({ directory: join(options.objectsDirectory), logger }),
    events: new Events(),
    logger,
    backOff,
    drivers,
    secrets: new SecretReader(options.secretsDirectory),
    workers: WORKERS,
    paths,
    attachTimeout,
    busyTimeout,
    node: () => ({ name: nodeName, labels: labelsOf(drivers, nodeName) }),
  };
}

/** The topology of this node, as its drivers tell it; all other labels are those of a kubelet. */
function labelsOf(drivers: Drivers, nodeName: string): Record<string, string> {
  const topologies = drivers.list().map(({ description }) => description.node?.topology ?? {});
  return Object.assign({ 'kubernetes.io/hostname': nodeName }, ...topologies);
}
