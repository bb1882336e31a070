import { join } from 'node:path';
import type { Pods } from './pods.ts';

/** Where the parts of a container are. */
export interface ContainerPaths {
  /** The record's directory; below it is all that dies with the boot. */
  directory: string;
  /** config.json, and what conmon writes. */
  bundle: string;
  /** Where the root filesystem is mounted. */
  rootfs: string;
  /** Mounts that are there only until the runtime has made them the container's. */
  sources: string;
  /** On the disk: the writable layer, and what overlayfs needs beside it. */
  storage: string;
  upper: string;
  work: string;
  /** Content of the image's volumes. */
  volumes: string;
}

export function containerPaths(pods: Pods, id: string): ContainerPaths {
  const directory = pods.containers.directoryOf(id);
  const storage = join(storageDirectory(pods), id);
  return {
    directory,
    bundle: join(directory, 'bundle'),
    rootfs: join(directory, 'rootfs'),
    sources: join(directory, 'sources'),
    storage,
    upper: join(storage, 'upper'),
    work: join(storage, 'work'),
    volumes: join(storage, 'volumes'),
  };
}

/** The directory with a storage directory for each container. */
export function storageDirectory(pods: Pods): string {
  return join(pods.settings.rootDirectory, 'containers');
}
