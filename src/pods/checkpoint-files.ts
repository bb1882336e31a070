import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, NEVER, readTextIfExists, sleep, writeFileAtomic } from '../base/index.ts';
import { CHECKPOINT_FILES } from './checkpoint-archive.ts';
import { type ContainerPaths, containerPaths } from './container-paths.ts';
import type { Pods } from './pods.ts';
import type { ContainerRecord } from './records.ts';

/** In a bundle while its container is being checkpointed: the path of the archive's first name. */
const MARK = 'checkpoint';

/** Milliseconds between two looks whether a runtime has ended. */
const PAUSE = 100;

export interface CheckpointFiles extends AsyncDisposable {
  /** For what becomes the archive; new and empty. */
  directory: string;
  /** Where the archive is written before it gets its name; nothing is there. */
  partial: string;
}

/**
 * What a checkpoint writes. It goes when disposed of, and at the next start of a daemon that
 * has died before (see `endInterruptedCheckpoint`).
 */
export async function checkpointFiles(
  paths: ContainerPaths,
  location: string,
): Promise<CheckpointFiles> {
  const directory = directoryIn(paths);
  const partial = `${location}.partial`;
  await writeFileAtomic(join(paths.bundle, MARK), partial);
  await rm(partial, { force: true });
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { mode: 0o700 });
  return { directory, partial, [Symbol.asyncDispose]: () => remove(paths, partial) };
}

function directoryIn({ storage }: ContainerPaths): string {
  return join(storage, 'checkpoint');
}

async function remove(paths: ContainerPaths, partial: string): Promise<void> {
  await rm(partial, { force: true });
  await rm(directoryIn(paths), { recursive: true, force: true });
  await rm(join(paths.bundle, MARK), { force: true });
}

/** Lets a container go on that is held still. */
export async function goOn(pods: Pods, container: ContainerRecord): Promise<void> {
  const runtime = pods.runtimes.find(container.handler);
  const state = await runtime?.state(container.id, NEVER);
  if (state?.status === 'paused') await runtime?.resume(container.id, NEVER);
}

/**
 * Undoes a checkpoint that a daemon which has died was making: the container goes on, and no
 * file of it stays. Nothing to do for other containers. The runtime may still be at it, and
 * would hold the container still again in the end: what waits for that is left behind, with
 * the container's lock.
 */
export async function endInterruptedCheckpoint(
  pods: Pods,
  container: ContainerRecord,
): Promise<void> {
  const paths = containerPaths(pods, container.id);
  const partial = await readTextIfExists(join(paths.bundle, MARK));
  if (partial === undefined) return;
  const held = await pods.locks.acquire(container.id);
  const undo = async () => {
    using _held = held;
    while (await isAtIt(container.id, paths)) await sleep(PAUSE);
    await goOn(pods, container);
    await remove(paths, partial);
    pods.logger.info({ containerId: container.id }, 'undid a checkpoint that was half made');
  };
  void undo().catch((error: unknown) => {
    const { id } = container;
    pods.logger.error({ containerId: id, error }, `cannot undo a checkpoint: ${messageOf(error)}`);
  });
}

/** Whether a runtime writes a checkpoint of this container, or holds it still for one. */
async function isAtIt(id: string, paths: ContainerPaths): Promise<boolean> {
  const images = join(directoryIn(paths), CHECKPOINT_FILES.images);
  const marks = [`\0${images}\0`, `\0pause\0${id}\0`];
  for (const name of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(name)) continue;
    // Undefined also of a process that has ended meanwhile.
    const command = await readFile(`/proc/${name}/cmdline`, 'latin1').catch(() => undefined);
    if (command !== undefined && marks.some((mark) => command.includes(mark))) return true;
  }
  return false;
}
