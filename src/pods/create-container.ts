import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { during, expectValue, KeelsonError, newId, Steps } from '../base/index.ts';
import { identifyProcess, signalNumber } from '../linux/index.ts';
import type { ImageRecord } from '../oci/images/index.ts';
import { killMonitor } from '../oci/runtime/index.ts';
import { cgroupsPathOf } from './cgroup-paths.ts';
import type { ContainerConfig } from './config.ts';
import { prepareLog } from './container-log.ts';
import { type ContainerPaths, containerPaths } from './container-paths.ts';
import { checkMountPoints, mountRootfs, removeRootfs } from './container-rootfs.ts';
import { containerSpec, stopSignalFor } from './container-spec.ts';
import { resolveUser } from './container-user.ts';
import { deleteByRuntime } from './delete-by-runtime.ts';
import type { Pods } from './pods.ts';
import { type ContainerRecord, containerName, now, type SandboxRecord } from './records.ts';
import { refuseContainerInSandbox } from './sandboxed-runtime.ts';

/**
 * Creates a container in a sandbox that is ready, from an image that is here, and
 * answers its id. A second call with the same name joins the first while that is under
 * way, and fails with ALREADY_EXISTS afterwards.
 */
export function createContainer(
  pods: Pods,
  sandboxId: string,
  config: ContainerConfig,
  signal: AbortSignal,
): Promise<string> {
  const { id } = pods.sandboxes.get(sandboxId);
  const name = containerName(id, config);
  return pods.creations.join(`container ${name}`, signal, async (joined) => {
    try {
      return await create(pods, id, config, joined);
    } catch (error) {
      throw during(`Cannot create container "${config.metadata.name}" in pod "${id}"`, error);
    }
  });
}

async function create(
  pods: Pods,
  sandboxId: string,
  config: ContainerConfig,
  signal: AbortSignal,
): Promise<string> {
  const sandbox = readySandbox(pods, sandboxId);
  refusePrivilege(sandbox, config);
  if (pods.runtimes.get(sandbox.handler).needsSandbox) {
    refuseContainerInSandbox(config, sandbox.handler);
  }
  const image = await findImage(pods, config.image.image);
  const intent = intentOf(pods, { sandbox, config, image });
  const { id } = intent;
  const paths = containerPaths(pods, id);
  using _held = await pods.locks.acquire(id, signal);
  await using steps = new Steps('create-container', pods.logger.child({ containerId: id }));
  await steps.run(
    'record intent',
    () => {
      pods.images.hold(id, image);
      return pods.containers.add(intent);
    },
    () => forget(pods, id),
  );
  await steps.run(
    'mount root filesystem',
    () => mountRootfs(paths, { layers: pods.images.layerPaths(image), root: image.root }),
    () => removeRootfs(paths),
  );
  await checkMountPoints(paths);
  const record = { ...intent, ...userOf(config, image, paths) };
  await steps.run('write bundle', () => writeBundle(pods, { record, sandbox, image, paths }));
  const pid = await steps.run(
    'create by runtime',
    () => monitor(pods, record, paths, signal),
    async (undoSignal) => {
      await killMonitor(paths.bundle);
      await deleteByRuntime(pods, record, undoSignal);
    },
  );
  await steps.run('record creation', () => {
    const process = expectValue(identifyProcess(pid), `process ${pid} of the container`);
    return pods.containers.update(record, { state: { phase: 'created', process } });
  });
  signal.throwIfAborted();
  readySandbox(pods, sandboxId); // It may have been stopped meanwhile.
  steps.commit();
  return id;
}

/** Fails unless the sandbox can take a container. */
function readySandbox(pods: Pods, id: string): SandboxRecord {
  const sandbox = pods.sandboxes.get(id);
  if (sandbox.state.phase === 'ready') return sandbox;
  throw new KeelsonError('FAILED_PRECONDITION', `Pod sandbox "${id}" is not ready`);
}

/** Whoever lets a pod be privileged decides so when the pod is made. */
function refusePrivilege(sandbox: SandboxRecord, { security }: ContainerConfig): void {
  if (!security.privileged || sandbox.config.privileged) return;
  throw new KeelsonError('INVALID_ARGUMENT', 'Cannot give a container all privileges', {
    reason: `pod sandbox "${sandbox.id}" is not privileged`,
  });
}

async function findImage(pods: Pods, name: string): Promise<ImageRecord> {
  const image = name === '' ? undefined : await pods.images.find(name);
  if (image !== undefined) return image;
  throw new KeelsonError('NOT_FOUND', `There is no image "${name}" on this node`, {
    hint: 'pull it first',
  });
}

function intentOf(
  pods: Pods,
  given: { sandbox: SandboxRecord; config: ContainerConfig; image: ImageRecord },
): ContainerRecord {
  const { sandbox, config, image } = given;
  const id = newId();
  const stopSignal = stopSignalFor(config, image.config);
  signalNumber(stopSignal); // Fails now rather than when the container shall stop.
  return {
    id,
    sandboxId: sandbox.id,
    config,
    handler: sandbox.handler,
    createdAt: now(),
    state: { phase: 'creating' },
    imageId: image.id,
    imageRef: image.repoDigests[0] ?? image.id,
    layers: image.layers.map((layer) => layer.id),
    logPath: logPathOf(sandbox, config),
    user: { uid: 0, gid: 0, supplementalGroups: [] },
    stopSignal,
    cgroupsPath: cgroupsPathOf(pods.settings.cgroupDriver, sandbox.cgroupParent, id),
  };
}

function logPathOf(sandbox: SandboxRecord, config: ContainerConfig): string | undefined {
  const { logDirectory } = sandbox.config;
  return logDirectory === '' || config.logPath === ''
    ? undefined
    : join(logDirectory, config.logPath);
}

function userOf(
  config: ContainerConfig,
  image: ImageRecord,
  paths: ContainerPaths,
): Pick<ContainerRecord, 'user'> {
  return { user: resolveUser(config.security, image.config.config?.User ?? '', paths.rootfs) };
}

async function writeBundle(
  pods: Pods,
  parts: {
    record: ContainerRecord;
    sandbox: SandboxRecord;
    image: ImageRecord;
    paths: ContainerPaths;
  },
): Promise<void> {
  const { record, sandbox, image, paths } = parts;
  const { mountOptions } = await pods.runtimes.features(record.handler);
  const spec = await containerSpec(pods, {
    container: record,
    sandbox,
    image: image.config,
    paths,
    mountFeatures: { options: mountOptions },
  });
  await mkdir(paths.bundle, { mode: 0o700 });
  await writeFile(join(paths.bundle, 'config.json'), JSON.stringify(spec), { mode: 0o600 });
  await prepareLog(record.logPath, sandbox.config.logDirectory);
}

function monitor(
  pods: Pods,
  record: ContainerRecord,
  paths: ContainerPaths,
  signal: AbortSignal,
): Promise<number> {
  const { config } = record;
  const runtime = pods.runtimes.get(record.handler);
  return pods.conmon.create(
    {
      id: record.id,
      name: config.metadata.name,
      runtime,
      standIn: runtime.needsSandbox,
      bundle: paths.bundle,
      exitDirectory: pods.exits.directory,
      logPath: record.logPath,
      logSizeMax: pods.settings.logSizeMax,
      terminal: config.tty,
      stdin: config.stdin,
      stdinOnce: config.stdinOnce,
    },
    signal,
  );
}

/** Removes a container's record and all that hangs on it. */
export async function forget(pods: Pods, id: string): Promise<void> {
  await pods.containers.remove(id);
  await pods.exits.forget(id);
  pods.images.release(id);
}
