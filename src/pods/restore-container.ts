import { lstat, mkdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ifExists, KeelsonError } from '../base/index.ts';
import { readFileInRoot, resolveInRoot } from '../linux/index.ts';
import type { ImageRecord } from '../oci/images/index.ts';
import type { RestoreSource } from '../oci/runtime/index.ts';
import {
  CHECKPOINT_FILES,
  type CheckpointDescription,
  checkImages,
  parseDescription,
  readFromArchive,
} from './checkpoint-archive.ts';
import type { ContainerConfig } from './config.ts';
import type { ContainerPaths } from './container-paths.ts';
import type { Pods } from './pods.ts';
import type { SandboxRecord } from './records.ts';

/** A checkpoint that a container is to be made from. */
export interface Checkpoint {
  /** As the container's image names it. */
  name: string;
  description: CheckpointDescription;
  /** An archive, or the directory of the only layer of an image. */
  archive: string | undefined;
  layer: string | undefined;
}

/** Annotations by which images that hold checkpoints are known: those of CRI-O and containerd. */
const ANNOTATIONS = [
  'io.kubernetes.cri-o.annotations.checkpoint.name',
  'org.criu.checkpoint.container.name',
];

/**
 * The checkpoint that an image name stands for: the path of an archive, or an image with the
 * annotation of one. Undefined for any other image. Whoever can have a checkpoint restored can
 * run anything as anybody: criu believes its images. So it must be allowed
 * (`containers.restore_checkpoints`), else paths fail with FAILED_PRECONDITION.
 */
export async function findCheckpoint(
  pods: Pods,
  name: string,
  signal: AbortSignal,
): Promise<Checkpoint | undefined> {
  const isPath = name.startsWith('/');
  if (!pods.settings.restoreCheckpoints) {
    if (!isPath) return undefined;
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot restore checkpoint "${name}"`, {
      reason: 'checkpoints are not restored on this node',
      hint: 'see containers.restore_checkpoints',
    });
  }
  return isPath ? fromArchive(name, signal) : fromImage(pods, name);
}

async function fromArchive(path: string, signal: AbortSignal): Promise<Checkpoint> {
  if ((await ifExists(stat(path)))?.isFile() !== true) {
    throw new KeelsonError('NOT_FOUND', `There is no checkpoint archive "${path}"`);
  }
  const content = await readFromArchive(path, CHECKPOINT_FILES.config, signal);
  const description = parseDescription(content, path);
  return { name: path, description, archive: path, layer: undefined };
}

async function fromImage(pods: Pods, name: string): Promise<Checkpoint | undefined> {
  const image = await pods.images.find(name);
  if (image === undefined) return undefined;
  const annotations = await pods.images.annotationsOf(image);
  if (!ANNOTATIONS.some((key) => key in annotations)) return undefined;
  const [layer] = pods.images.layerPaths(image);
  const content = readFileInRoot(layer ?? '/nonexistent', CHECKPOINT_FILES.config) ?? '';
  const description = parseDescription(content, name);
  return { name, description, archive: undefined, layer };
}

/** Fails unless a container of this pod can be restored at all. */
export async function checkRestorable(
  pods: Pods,
  { handler, namespaces }: SandboxRecord,
  { tty }: ContainerConfig,
): Promise<void> {
  const problem = await pods.runtimes.checkpointProblem(handler);
  const action = 'Cannot restore a checkpoint';
  if (problem !== undefined) throw new KeelsonError('UNIMPLEMENTED', action, { reason: problem });
  const obstacle = tty ? 'a terminal' : namespaces.user !== undefined ? 'a user namespace' : '';
  if (obstacle === '') return;
  throw new KeelsonError('INVALID_ARGUMENT', action, {
    reason: `a container with ${obstacle} cannot be restored`,
  });
}

/** The image that the container of a checkpoint was made from. Fails unless it is here. */
export async function imageBelow(pods: Pods, checkpoint: Checkpoint): Promise<ImageRecord> {
  const { rootfsImageRef, rootfsImage, rootfsImageName } = checkpoint.description;
  const names = [rootfsImageRef, rootfsImage, rootfsImageName].filter((name) => name !== '');
  for (const name of names) {
    const image = await pods.images.find(name).catch(() => undefined);
    if (image !== undefined) return image;
  }
  throw new KeelsonError('NOT_FOUND', `Cannot restore checkpoint "${checkpoint.name}"`, {
    reason: `the image that it was made from, "${names[0] ?? ''}", is not on this node`,
    hint: 'pull it first',
  });
}

export interface UnpackedCheckpoint extends RestoreSource {
  /** Deletes from the root filesystem, once it is mounted, what the container had deleted. */
  applyDeletions(): Promise<void>;
}

/**
 * Unpacks a checkpoint into a container's storage, which must be there: its images, and, as the
 * writable layer that will be mounted, what the container had changed. Answers where to restore
 * from.
 */
export async function unpackCheckpoint(
  pods: Pods,
  checkpoint: Checkpoint,
  paths: ContainerPaths,
  signal: AbortSignal,
): Promise<UnpackedCheckpoint> {
  const work = join(paths.storage, 'restore');
  await mkdir(work, { mode: 0o700 });
  let directory = checkpoint.layer;
  if (checkpoint.archive !== undefined) {
    directory = join(work, 'archive');
    await pods.images.unpackArchive({ path: checkpoint.archive, directory }, signal);
  }
  if (directory === undefined) throw unusable(checkpoint, 'its image has no layer');
  const images = join(directory, CHECKPOINT_FILES.images);
  if ((await ifExists(lstat(images)))?.isDirectory() !== true) {
    throw unusable(checkpoint, `it has no "${CHECKPOINT_FILES.images}"`);
  }
  await checkImages(images);
  const changes = join(directory, CHECKPOINT_FILES.changes);
  if ((await ifExists(lstat(changes)))?.isFile() === true) {
    await pods.images.unpackArchive({ path: changes, directory: paths.upper }, signal);
  }
  const deleted = await readDeletions(checkpoint, directory);
  return { images, work, applyDeletions: () => applyDeletions(deleted, paths.rootfs) };
}

async function applyDeletions(paths: readonly string[], rootfs: string): Promise<void> {
  for (const path of paths) {
    const parent = resolveInRoot(rootfs, dirname(path));
    const name = basename(path);
    if (parent === undefined || name === '' || name === '.' || name === '..') continue;
    await rm(join(parent, name), { recursive: true, force: true });
  }
}

async function readDeletions(checkpoint: Checkpoint, directory: string): Promise<string[]> {
  const file = join(directory, CHECKPOINT_FILES.deleted);
  if ((await ifExists(lstat(file)))?.isFile() !== true) return [];
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'));
  } catch {
    parsed = undefined;
  }
  if (parsed === null) return [];
  if (Array.isArray(parsed) && parsed.every((path) => typeof path === 'string')) return parsed;
  throw unusable(checkpoint, `its "${CHECKPOINT_FILES.deleted}" is no list of paths`);
}

function unusable({ name }: Checkpoint, reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', `Cannot use checkpoint "${name}"`, { reason });
}
