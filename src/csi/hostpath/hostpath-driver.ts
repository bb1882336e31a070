import { hostname } from 'node:os';
import { KeelsonError, type Logger } from '../../base/index.ts';
import { lockFile, Measuring } from '../../linux/index.ts';
import type { CsiDriver } from '../kit/driver.ts';
import { DriverServer } from '../kit/driver-server.ts';
import { Registrar } from '../registration/index.ts';
import type { HostPathContext } from './context.ts';
import { controllerMethods } from './controller.ts';
import { Layout } from './layout.ts';
import { nodeMethods } from './node.ts';
import { NodePlaces } from './node-places.ts';
import { awaitPrograms, repairNode } from './repair.ts';
import { clearUnfinished, Store } from './store.ts';

/** The name that StorageClasses have as their provisioner. */
export const HOSTPATH_DRIVER = 'hostpath.csi.keelson';

/** Milliseconds that another driver may take to let go of the directory. */
const LOCK_PATIENCE = 2000;

export interface HostPathOptions {
  /** Where volumes and snapshots are kept. */
  readonly root: string;
  /** Also the value of its topology segment. Default: the name of the host. */
  readonly nodeId?: string | undefined;
  /** Default `hostpath.csi.keelson`. */
  readonly name?: string | undefined;
  readonly version: string;
  readonly logger: Logger;
}

/**
 * The host-path driver: volumes of one node, as directories, file systems in image files or
 * block devices. Opening it repairs what one that was killed has left.
 */
export class HostPathDriver implements AsyncDisposable {
  readonly driver: CsiDriver;
  readonly #lock: AsyncDisposable;
  readonly #measuring: Measuring;

  private constructor(driver: CsiDriver, lock: AsyncDisposable, measuring: Measuring) {
    this.driver = driver;
    this.#lock = lock;
    this.#measuring = measuring;
  }

  /** Fails with ALREADY_EXISTS when another driver works in the directory. */
  static async open(options: HostPathOptions): Promise<HostPathDriver> {
    const { logger, name = HOSTPATH_DRIVER } = options;
    const nodeId = checkNodeId(options.nodeId ?? hostname());
    const layout = await Layout.open(options.root);
    const lock = await lockRoot(layout);
    try {
      await awaitPrograms(layout);
      await clearUnfinished(layout, logger);
      const context: HostPathContext = {
        layout,
        volumes: await Store.openVolumes(layout, logger),
        snapshots: await Store.openSnapshots(layout, logger),
        places: await NodePlaces.open(layout, logger),
        measuring: new Measuring(),
        nodeId,
        topologyKey: `topology.${name}/node`,
        logger,
      };
      await repairNode(context);
      const driver = driverOf(context, { name, version: options.version });
      return new HostPathDriver(driver, lock, context.measuring);
    } catch (error) {
      await lock[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#measuring[Symbol.asyncDispose]();
    await this.#lock[Symbol.asyncDispose]();
  }
}

function driverOf(context: HostPathContext, who: { name: string; version: string }): CsiDriver {
  return {
    ...who,
    features: {
      cloneVolume: true,
      volumeCondition: true,
      singleNodeMultiWriter: true,
      topology: true,
      ephemeral: true,
      expansion: 'ONLINE',
    },
    ...controllerMethods(context),
    ...nodeMethods(context),
  };
}

/** A node id is the value of a topology segment, too. */
function checkNodeId(nodeId: string): string {
  if (/^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/.test(nodeId)) return nodeId;
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot be node "${nodeId}"`, {
    reason: 'a node id here is letters, digits, "-", "_" and ".", at most 63',
    hint: 'choose another --node-id',
  });
}

async function lockRoot(layout: Layout): Promise<AsyncDisposable> {
  try {
    return await lockFile(layout.lock, 'exclusive', AbortSignal.timeout(LOCK_PATIENCE));
  } catch (cause) {
    if (!(cause instanceof DOMException)) throw cause;
    throw new KeelsonError('ALREADY_EXISTS', `Directory "${layout.root}" is in use`, {
      reason: 'another host-path driver works there',
      hint: 'stop it, or choose another --root',
    });
  }
}

export interface ServeOptions extends HostPathOptions {
  /** `unix:///PATH.sock`. */
  readonly endpoint: string;
  /** The directory where a kubelet or Keelson looks for drivers. Left out: whoever wants this one knows where it is. */
  readonly registrationDirectory?: string | undefined;
  readonly signal: AbortSignal;
}

/** Serves the host-path driver until the signal aborts. */
export async function serveHostPath(options: ServeOptions): Promise<void> {
  const { endpoint, logger, signal, registrationDirectory: directory } = options;
  await using hostpath = await HostPathDriver.open(options);
  await using server = await DriverServer.open(hostpath.driver, { endpoint, logger });
  logger.info({ endpoint: server.path }, `driver "${hostpath.driver.name}" listens`);
  const driver = hostpath.driver.name;
  await using _registrar =
    directory === undefined
      ? undefined
      : await Registrar.open({
          ...{ driver, directory, endpoint: server.path },
          registered(ok, error) {
            if (ok) logger.info({ directory }, `driver "${driver}" is registered`);
            else logger.error({ directory }, `driver "${driver}" is not registered: ${error}`);
          },
        });
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
