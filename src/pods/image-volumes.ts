import { chown, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { copyFromRoot } from '../linux/index.ts';
import type { SpecMount } from '../oci/spec/index.ts';
import type { MountConfig, UserMappings } from './config.ts';
import type { ContainerPaths } from './container-paths.ts';
import { hostIdOf } from './mapped-mounts.ts';

/**
 * The volumes that an image declares (`Config.Volumes`): a directory for each in the
 * container's storage, filled with what the image has there, unless the container mounts
 * something of its own at the place.
 */
export async function volumeMounts(
  volumes: Record<string, unknown>,
  container: {
    mounts: readonly MountConfig[];
    paths: ContainerPaths;
    user: UserMappings | undefined;
  },
): Promise<SpecMount[]> {
  const { mounts, paths, user } = container;
  const taken = new Set(mounts.map((mount) => resolve('/', mount.containerPath)));
  const places = Object.keys(volumes)
    .map((path) => resolve('/', path))
    .filter((path) => path !== '/' && !taken.has(path));
  const specs: SpecMount[] = [];
  for (const [index, destination] of places.entries()) {
    const source = join(paths.volumes, String(index));
    await mkdir(source, { recursive: true, mode: 0o755 });
    await chown(source, hostIdOf(0, user?.uids), hostIdOf(0, user?.gids));
    await copyFromRoot(paths.rootfs, destination, source);
    specs.push({ destination, type: 'bind', source, options: ['rbind', 'rprivate', 'rw'] });
  }
  return specs;
}
