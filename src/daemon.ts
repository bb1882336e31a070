import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AdminServer } from './admin/index.ts';
import { createLogger, during, exportSpans, type Logger, type RootLogger } from './base/index.ts';
import {
  builtinPlugins,
  CniEngine,
  ExecInvoker,
  type Plugin,
  SelectingInvoker,
} from './cni/index.ts';
import type { Config, RuntimeConfig } from './config/index.ts';
import { CriServer, type ServerOptions, streamingBackend } from './cri/index.ts';
import { lockState } from './daemon-lock.ts';
import { changeDefaultNetwork, loadDefaultNetwork } from './default-network.ts';
import { findProgram, notifySystemd, releaseMemory } from './linux/index.ts';
import { Nri } from './nri/index.ts';
import { ImageStore } from './oci/images/index.ts';
import type { OciRuntimeOptions } from './oci/runtime/index.ts';
import { parsePlatform } from './oci/spec/index.ts';
import { openPods, type PodSettings, type Pods, Runtimes, Statistics } from './pods/index.ts';
import { StreamingServer } from './streaming/index.ts';
import { openVolumes } from './volumes.ts';

export interface DaemonOptions {
  config: Config;
  /** Keelson's own version. */
  version: string;
  /** Ends the daemon: calls under way are finished or undone, containers stay. */
  signal: AbortSignal;
}

/**
 * The composition root: builds the daemon from the ground up, runs it until the signal
 * aborts, and closes its parts in reverse order.
 */
export async function runDaemon({ config, version, signal }: DaemonOptions): Promise<void> {
  const logger = createLogger(config.log.level);
  await using parts = new AsyncDisposableStack();
  parts.use(changeLevelBySignal(logger));
  parts.use(await exportSpans(process.env, { version, logger }));
  parts.use(await lockState(config.state));
  const images = parts.use(await openImages(config, logger));
  const plugins = builtinPlugins({ dhcpDirectory: join(config.state, 'dhcp') });
  const network = parts.use(await openNetwork(config, logger, plugins));
  const nri = config.nri.enabled ? openNri(config, version, logger) : undefined;
  const pods = parts.use(
    await openPods({
      settings: podSettings(config),
      logger,
      images,
      network,
      runtimes: findRuntimes(config, logger),
      conmonPath: config.conmon.path,
      observer: nri?.observer,
    }),
  );
  await Promise.all(plugins.map((plugin) => plugin.resume?.()));
  await images.collectGarbage();
  const volumes = config.csi.enabled
    ? parts.use(await openVolumes(config, { logger, pods, version }))
    : undefined;
  parts.use(
    await AdminServer.open({
      address: config.admin.address,
      logger,
      images,
      pods,
      csi: volumes?.host,
    }),
  );
  await parts.use(nri)?.start(pods);
  const streaming = parts.use(await openStreaming(config, logger, pods));
  const statistics = parts.use(new Statistics(pods));
  // What starting took would stay in an idle daemon; as yet nobody waits for an answer.
  releaseMemory();
  parts.use(
    await CriServer.open(
      {
        ...{
          logger,
          pods,
          images,
          streaming,
          statistics,
          version,
          configuration: config,
        },
        nri: nri === undefined ? undefined : () => nri.status(),
        setPodCidrs: (subnets) => setPodCidrs(network, config, subnets),
      },
      await serverOptions(config),
    ),
  );
  logger.info({ version, listen: config.listen, state: config.state }, 'keelson is ready');
  notifySystemd('READY=1');
  await aborted(signal);
  logger.info({}, 'shutting down; containers go on');
  notifySystemd('STOPPING=1');
}

function openNri(config: Config, version: string, logger: Logger): Nri {
  return new Nri({ settings: config.nri, version, stateDirectory: config.state, logger });
}

async function openStreaming(config: Config, logger: Logger, pods: Pods): Promise<StreamingServer> {
  const { address, port, tls } = config.streaming;
  const { cert, key, clientCa } = tls;
  const backend = streamingBackend(pods);
  if (cert === undefined || key === undefined) {
    return StreamingServer.open({ address, port, logger, backend });
  }
  const certificates = {
    certificate: await pem(cert),
    key: await pem(key),
    ...(clientCa === undefined ? {} : { clientCa: await pem(clientCa) }),
  };
  return StreamingServer.open({ address, port, logger, backend, tls: certificates });
}

function openImages(config: Config, logger: Logger): Promise<ImageStore> {
  const { images } = config;
  const platform = images.platform === undefined ? undefined : parsePlatform(images.platform);
  const certsDir = images.registryConfigDirs.find((directory) => existsSync(directory));
  return ImageStore.open({
    root: config.root,
    logger,
    parallelLayers: images.parallelLayers,
    parallelDownloads: images.parallelDownloads,
    pinned: images.pinned,
    limits: { bytes: images.maxLayerSize, entries: images.maxLayerEntries },
    foreignLayers: images.foreignLayers,
    refuseDevices: images.refuseDevices,
    gunzip: images.gunzip,
    keepBlobs: images.keepBlobs,
    ...(platform === undefined ? {} : { platform }),
    registry: {
      ...(certsDir === undefined ? {} : { certsDir }),
      registriesConf: images.registriesConf,
      stallTimeout: images.stallTimeout,
      ...(images.authFile === undefined ? {} : { authFiles: [images.authFile] }),
    },
  });
}

async function openNetwork(
  config: Config,
  logger: Logger,
  builtIns: readonly Plugin[],
): Promise<CniEngine> {
  const { cni } = config;
  return CniEngine.open({
    confDir: cni.confDir,
    binDirs: [cni.overrideDir, ...cni.binDirs],
    cacheDir: cni.cacheDir,
    stateDir: join(config.root, 'cni'),
    logger,
    invoker: new SelectingInvoker({
      builtIns,
      programs: new ExecInvoker(),
      prefer: cni.prefer,
      overrideDirs: [cni.overrideDir],
    }),
    ...(cni.defaultNetwork ? { defaultNetwork: await loadDefaultNetwork(config.root) } : {}),
    pluginTimeout: cni.pluginTimeout,
  });
}

/** A kubelet's pod CIDRs take the place of the embedded network's own. */
async function setPodCidrs(
  network: CniEngine,
  config: Config,
  subnets: readonly string[],
): Promise<void> {
  if (!config.cni.defaultNetwork) return;
  await network.setDefaultNetwork(await changeDefaultNetwork(config.root, subnets));
}

/** The configured handlers whose programs are here. runc stands in for a missing crun. */
function findRuntimes(config: Config, logger: Logger): Runtimes {
  const systemdCgroup = cgroupDriver(config) === 'systemd';
  const found = Object.entries(config.runtimes).flatMap(([handler, runtime]) => {
    const options = runtimeOptions(handler, runtime, systemdCgroup);
    return options === undefined ? [] : [options];
  });
  const wanted = config.defaultRuntime;
  const handlers = found.map(({ handler }) => handler);
  const fallback = wanted === 'crun' && !handlers.includes('crun') && handlers.includes('runc');
  if (fallback) logger.warn({}, 'crun is not installed: runc is the default runtime');
  return new Runtimes(fallback ? 'runc' : wanted, found);
}

function runtimeOptions(
  handler: string,
  { type, path, root, options }: RuntimeConfig,
  systemdCgroup: boolean,
): OciRuntimeOptions | undefined {
  const program = findProgram(path);
  if (program === undefined) return undefined;
  return { handler, type, path: program, root, options, systemdCgroup };
}

function cgroupDriver(config: Config): 'cgroupfs' | 'systemd' {
  if (config.cgroup.driver !== 'auto') return config.cgroup.driver;
  // sd_booted(3)
  return existsSync('/run/systemd/system') ? 'systemd' : 'cgroupfs';
}

function podSettings(config: Config): PodSettings {
  const { containers, sandbox } = config;
  return {
    stateDirectory: config.state,
    rootDirectory: config.root,
    netnsDirectory: '/run/netns',
    cgroupDriver: cgroupDriver(config),
    initPath: findProgram(sandbox.initPath) ?? sandbox.initPath,
    cdiDirectories: containers.cdiSpecDirs,
    shmSize: sandbox.shmSize,
    pidsLimit: containers.pidsLimit === 0 ? undefined : containers.pidsLimit,
    logSizeMax: containers.logSizeMax === 0 ? undefined : containers.logSizeMax,
    restoreCheckpoints: containers.restoreCheckpoints,
  };
}

async function serverOptions(config: Config): Promise<ServerOptions> {
  const { cert, key, clientCa } = config.grpc.tls;
  return {
    listen: config.listen,
    imageListen: config.imageListen === undefined ? [] : [config.imageListen],
    tls:
      cert === undefined || key === undefined || clientCa === undefined
        ? undefined
        : { cert: await pem(cert), key: await pem(key), clientCa: await pem(clientCa) },
    drainTimeout: config.drainTimeout,
  };
}

async function pem(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw during(`Cannot read certificate file "${path}"`, error);
  }
}

/** SIGUSR1 makes the log say everything, a second one returns to the configured level. */
function changeLevelBySignal(logger: RootLogger): Disposable {
  const configured = logger.level;
  const toggle = () => {
    logger.level = logger.level === 'debug' ? configured : 'debug';
    logger.info({ level: logger.level }, 'log level changed');
  };
  process.on('SIGUSR1', toggle);
  return { [Symbol.dispose]: () => process.off('SIGUSR1', toggle) };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
