import { during, expectValue, KeelsonError, messageOf, Steps } from '../base/index.ts';
import { identifyProcess } from '../linux/index.ts';
import type { ImageRecord } from '../oci/images/index.ts';
import { killMonitor, type RestoreSource } from '../oci/runtime/index.ts';
import type { ContainerConfig } from './config.ts';
import { decideBundle, writeBundle } from './container-bundle.ts';
import {
  findImage,
  intentOf,
  refuseClasses,
  refuseOtherIds,
  refusePrivilege,
} from './container-intent.ts';
import { type ContainerPaths, containerPaths } from './container-paths.ts';
import {
  checkMountPoints,
  makeStorage,
  mountRootfs,
  type RootfsSource,
  removeRootfs,
} from './container-rootfs.ts';
import { resolveUser } from './container-user.ts';
import { deleteByRuntime } from './delete-by-runtime.ts';
import { findVolumes } from './image-mounts.ts';
import { removeMountsBelow } from './mapped-mounts.ts';
import type { Pods } from './pods.ts';
import { type ContainerRecord, containerName, type SandboxRecord } from './records.ts';
import {
  checkRestorable,
  findCheckpoint,
  imageBelow,
  unpackCheckpoint,
} from './restore-container.ts';
import { refuseContainerInSandbox } from './sandboxed-runtime.ts';
import { labelsOf } from './selinux.ts';
import { startsByStandIn } from './start-container.ts';

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
      const action = `Cannot create container "${config.metadata.name}" in pod "${id}"`;
      throw during(`${kubeletWord(error)}${action}`, error);
    }
  });
}

/** Words by which kubelets know some failures, if the message begins with one. */
const KUBELET_WORD = /^(RROUnsupported|ImageVolumeMountFailed): /;

function kubeletWord(error: unknown): string {
  return KUBELET_WORD.exec(messageOf(error))?.[0] ?? '';
}

/** What is decided before anything is made. */
interface Creation {
  sandbox: SandboxRecord;
  image: ImageRecord;
  /** Images of volumes. */
  volumes: ImageRecord[];
  /** Of which the container is to be restored. */
  checkpoint: Awaited<ReturnType<typeof findCheckpoint>>;
  intent: ContainerRecord;
}

async function plan(
  pods: Pods,
  sandboxId: string,
  config: ContainerConfig,
  signal: AbortSignal,
): Promise<Creation> {
  const sandbox = readySandbox(pods, sandboxId);
  refusePrivilege(sandbox, config);
  if (pods.runtimes.get(sandbox.handler).needsSandbox) {
    refuseContainerInSandbox(config, sandbox.handler);
  }
  refuseOtherIds(sandbox, config);
  refuseClasses(sandbox, config);
  // All handlers have their images in one store: it need only be one of them.
  pods.runtimes.get(config.image.runtimeHandler);
  const checkpoint = await findCheckpoint(pods, config.image.image, signal);
  if (checkpoint !== undefined) await checkRestorable(pods, sandbox, config);
  const image = await (checkpoint === undefined
    ? findImage(pods, config.image.image)
    : imageBelow(pods, checkpoint));
  const { mounts, images: volumes } = await findVolumes(pods, config.mounts);
  const intent = intentOf(pods, { sandbox, config: { ...config, mounts }, image, volumes });
  return { sandbox, image, volumes, checkpoint, intent };
}

async function create(
  pods: Pods,
  sandboxId: string,
  config: ContainerConfig,
  signal: AbortSignal,
): Promise<string> {
  const creation = await plan(pods, sandboxId, config, signal);
  const { sandbox, image, volumes, checkpoint, intent } = creation;
  const { id } = intent;
  pods.migrations.expect();
  const paths = containerPaths(pods, id);
  using _held = await pods.locks.acquire(id, signal);
  await using steps = new Steps('create-container', pods.logger.child({ containerId: id }));
  await steps.run(
    'record intent',
    () => {
      for (const each of [image, ...volumes]) pods.images.hold(id, each);
      return pods.containers.add(intent);
    },
    () => forget(pods, id),
  );
  const restore = await steps.run(
    'mount root filesystem',
    async () => {
      const source = rootfsSource(pods, { image, sandbox, container: intent });
      await makeStorage(paths, source);
      const unpacked = checkpoint && (await unpackCheckpoint(pods, checkpoint, paths, signal));
      await mountRootfs(paths, source);
      await unpacked?.applyDeletions();
      return unpacked;
    },
    () => removeRootfs(paths),
  );
  await checkMountPoints(paths);
  const restored = restore === undefined ? {} : { restored: true };
  const container = { ...intent, ...restored, ...userOf(config, image, paths) };
  const { record, spec } = await steps.run(
    'decide what it is',
    () => decideBundle(pods, { container, sandbox, image, paths }),
    () => pods.observer?.containerUndone(container),
  );
  await steps.run('write bundle', () => writeBundle({ record, spec, sandbox, paths }));
  const pid = await steps.run(
    'create by runtime',
    () => monitor(pods, record, { paths, restore }, signal),
    async (undoSignal) => {
      await killMonitor(paths.bundle);
      await deleteByRuntime(pods, record, undoSignal);
    },
  );
  // The container has mounts of its own by now, unless it comes to life when it is started.
  await steps.run('remove mount sources', () =>
    startsByStandIn(pods, record) ? undefined : removeMountsBelow(paths.sources),
  );
  const created = await steps.run('record creation', () => {
    const process = expectValue(identifyProcess(pid), `process ${pid} of the container`);
    return pods.containers.update(record, { state: { phase: 'created', process } });
  });
  signal.throwIfAborted();
  readySandbox(pods, sandboxId); // It may have been stopped meanwhile.
  steps.commit();
  await pods.observer?.containerCreated(created);
  return id;
}

/** Fails unless the sandbox can take a container. */
function readySandbox(pods: Pods, id: string): SandboxRecord {
  const sandbox = pods.sandboxes.get(id);
  if (sandbox.state.phase === 'ready') return sandbox;
  throw new KeelsonError('FAILED_PRECONDITION', `Pod sandbox "${id}" is not ready`);
}

function rootfsSource(
  pods: Pods,
  parts: { image: ImageRecord; sandbox: SandboxRecord; container: ContainerRecord },
): RootfsSource {
  const { image, sandbox, container } = parts;
  const namespace = sandbox.namespaces.user;
  const mappings = sandbox.config.namespaces.user;
  return {
    layers: pods.images.layerPaths(image),
    root: image.root,
    user: namespace === undefined || mappings === undefined ? undefined : { namespace, mappings },
    context: labelsOf(pods.host.selinux, sandbox, container)?.mount,
  };
}

function userOf(
  config: ContainerConfig,
  image: ImageRecord,
  paths: ContainerPaths,
): Pick<ContainerRecord, 'user'> {
  return { user: resolveUser(config.security, image.config.config?.User ?? '', paths.rootfs) };
}

function monitor(
  pods: Pods,
  record: ContainerRecord,
  { paths, restore }: { paths: ContainerPaths; restore: RestoreSource | undefined },
  signal: AbortSignal,
): Promise<number> {
  const { config } = record;
  const runtime = pods.runtimes.get(record.handler);
  return pods.conmon.create(
    {
      id: record.id,
      name: config.metadata.name,
      runtime,
      standIn: runtime.needsSandbox ? 'sandboxed' : restore,
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
