import { copyFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  abandonOn,
  during,
  faultPoint,
  ifExists,
  KeelsonError,
  NEVER,
  withTimeout,
} from '../base/index.ts';
import {
  CHECKPOINT_FILES,
  type CheckpointDescription,
  packArchive,
  packFiles,
} from './checkpoint-archive.ts';
import { checkpointFiles, goOn } from './checkpoint-files.ts';
import { type ContainerPaths, containerPaths } from './container-paths.ts';
import { overlayChanges } from './overlay-changes.ts';
import type { Pods } from './pods.ts';
import type { ContainerRecord } from './records.ts';
import { runningContainer } from './running-container.ts';

/** Seconds that a checkpoint may take unless the caller says otherwise. */
const DEFAULT_TIMEOUT = 120;

export interface CheckpointRequest {
  containerId: string;
  /** The archive to write, absolute. What is there is replaced in the end. */
  location: string;
  /** Seconds; 0 for the default. */
  timeout: number;
}

/**
 * Writes what a running container is, its processes included, into an archive; the container
 * goes on. Fails with UNIMPLEMENTED where the runtime or the kernel cannot do it. When the time
 * is over the dump still ends, for one that is cut off leaves broken processes, but its result
 * is dropped.
 */
export async function checkpointContainer(
  pods: Pods,
  request: CheckpointRequest,
  signal: AbortSignal,
): Promise<void> {
  const container = runningContainer(pods, request.containerId, 'checkpoint');
  const action = `Cannot checkpoint container "${container.id}"`;
  const problem = await pods.runtimes.checkpointProblem(container.handler);
  if (problem !== undefined) {
    throw new KeelsonError('UNIMPLEMENTED', action, { reason: problem });
  }
  const deadline = withTimeout(signal, (request.timeout || DEFAULT_TIMEOUT) * 1000);
  const work = checkpoint(pods, container.id, request.location, deadline).catch((error) => {
    throw during(action, error);
  });
  await abandonOn(deadline, work);
}

async function checkpoint(
  pods: Pods,
  id: string,
  location: string,
  signal: AbortSignal,
): Promise<void> {
  using _held = await pods.locks.acquire(id, signal);
  const container = runningContainer(pods, id, 'checkpoint');
  const paths = containerPaths(pods, id);
  await using files = await checkpointFiles(paths, location);
  const { directory, partial } = files;
  await describe(pods, container, directory);
  await copyFile(join(paths.bundle, 'config.json'), join(directory, CHECKPOINT_FILES.spec));
  await holdStill(pods, container, async () => {
    const images = join(directory, CHECKPOINT_FILES.images);
    const runtime = pods.runtimes.get(container.handler);
    await runtime.checkpoint(id, { images, work: directory });
    await writeChanges(pods, container, { paths, directory, signal });
    await copyLog(container, directory);
    faultPoint('checkpoint/dumped');
  });
  signal.throwIfAborted();
  // Created first, so that nobody else can read it at any time.
  await writeFile(partial, '', { mode: 0o600, flag: 'wx' });
  await packArchive(directory, Object.values(CHECKPOINT_FILES), partial, signal);
  faultPoint('checkpoint/packed');
  await rename(partial, location);
}

async function copyLog({ logPath }: ContainerRecord, directory: string): Promise<void> {
  if (logPath === undefined) return;
  await ifExists(copyFile(logPath, join(directory, CHECKPOINT_FILES.log)));
}

async function describe(pods: Pods, container: ContainerRecord, directory: string): Promise<void> {
  const { metadata, image } = container.config;
  const time = (nanoseconds: bigint) => new Date(Number(nanoseconds / 1_000_000n)).toISOString();
  const description: CheckpointDescription = {
    id: container.id,
    name: metadata.name,
    rootfsImageName: image.userSpecifiedImage || image.image,
    rootfsImageRef: container.imageRef,
    rootfsImage: container.imageId,
    runtime: pods.runtimes.get(container.handler).type,
    createdTime: time(BigInt(container.createdAt)),
    checkpointedTime: new Date().toISOString(),
  };
  await writeFile(join(directory, CHECKPOINT_FILES.config), JSON.stringify(description));
}

async function writeChanges(
  pods: Pods,
  container: ContainerRecord,
  places: { paths: ContainerPaths; directory: string; signal: AbortSignal },
): Promise<void> {
  const { directory, signal } = places;
  const { upper } = places.paths;
  const below = pods.images.layerPathsOf(container.layers);
  const { made, deleted } = await overlayChanges(upper, below);
  await packFiles(upper, made, join(directory, CHECKPOINT_FILES.changes), signal);
  const paths = deleted.map((path) => Buffer.from(path, 'latin1').toString());
  await writeFile(join(directory, CHECKPOINT_FILES.deleted), JSON.stringify(paths));
}

/** Files and memory shall be of the same moment. */
async function holdStill(
  pods: Pods,
  container: ContainerRecord,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await pods.runtimes.get(container.handler).pause(container.id, NEVER);
    faultPoint('checkpoint/paused');
    await work();
  } finally {
    await goOn(pods, container);
  }
}
