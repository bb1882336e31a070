import { chmod, chown, lstat, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ifExists, KeelsonError, span } from '../base/index.ts';
import { mountOverlay, unmountAll } from '../linux/index.ts';
import type { UserMappings } from './config.ts';
import type { ContainerPaths } from './container-paths.ts';
import { hostIdOf, letThrough, mapDirectories, removeMountsBelow } from './mapped-mounts.ts';

/** What a root filesystem is made of. */
export interface RootfsSource {
  /** Directories of the image's layers, topmost first. */
  layers: readonly string[];
  /** How the image has its root directory: an overlay shows that of the upper one. */
  root: { mode: number; uid: number; gid: number };
  /** The pod's user namespace, pinned, and the ids in it. */
  user: { namespace: string; mappings: UserMappings } | undefined;
  /** SELinux label of all files. */
  context: string | undefined;
}

/** Makes the place on the disk for what a container writes. */
export async function makeStorage(
  paths: ContainerPaths,
  { user }: Pick<RootfsSource, 'user'>,
): Promise<void> {
  await mkdir(dirname(paths.storage), { recursive: true, mode: 0o711 });
  // Programs with set-uid bits that a container wrote are not for users of the host.
  await mkdir(paths.storage, { mode: 0o700 });
  if (user === undefined) return;
  for (const place of [paths.directory, paths.storage]) await letThrough(place, user.mappings);
}

/**
 * Mounts an image's layers with a writable layer of the container's own above them, which
 * lies in its storage and may hold something already.
 */
export async function mountRootfs(
  paths: ContainerPaths,
  { layers, root, user, context }: RootfsSource,
): Promise<void> {
  await mkdir(paths.upper, { recursive: true });
  const uid = hostIdOf(root.uid, user?.mappings.uids);
  const gid = hostIdOf(root.gid, user?.mappings.gids);
  await chown(paths.upper, uid, gid);
  await chmod(paths.upper, root.mode);
  await mkdir(paths.work, { mode: 0o700 });
  await mkdir(paths.rootfs, { mode: 0o755 });
  await mkdir(paths.sources, { mode: 0o711 });
  const { upper, work, rootfs: target, sources } = paths;
  const lower =
    user === undefined ? layers : mapDirectories(layers, join(sources, 'layers'), user.namespace);
  await span('mount.overlay', { target, layers: layers.length }, async () =>
    mountOverlay({ lower, upper, work, target, context }),
  );
}

/** Directories of a root filesystem in which runtimes mount and make things by name. */
const MOUNT_POINTS = ['proc', 'dev', 'sys'];

/**
 * Fails with INVALID_ARGUMENT if an image has something else in place of a directory where
 * runtimes mount. runc 1.1 makes and removes files below `/dev` without looking where a link
 * in its place leads to: on the host.
 */
export async function checkMountPoints(paths: ContainerPaths): Promise<void> {
  for (const name of MOUNT_POINTS) {
    const found = await ifExists(lstat(join(paths.rootfs, name)));
    if (found === undefined || found.isDirectory()) continue;
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot use the image's "/${name}"`, {
      reason: `it is ${found.isSymbolicLink() ? 'a link' : 'a file'}, not a directory`,
    });
  }
}

/** Unmounts the root filesystem and deletes what the container wrote. Absence is fine. */
export async function removeRootfs(paths: ContainerPaths): Promise<void> {
  await removeMountsBelow(paths.sources);
  await span('unmount', { target: paths.rootfs }, async () => unmountAll(paths.rootfs));
  // Removing the mountpoint also takes the mount out of namespaces that copied it.
  await rm(paths.rootfs, { recursive: true, force: true });
  await rm(paths.storage, { recursive: true, force: true });
}
