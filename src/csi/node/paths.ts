import { createHash } from 'node:crypto';
import { join } from 'node:path';

/** The names under a kubelet's root directory. Hashes and checked names only: never a handle. */
export class NodePaths {
  readonly root: string;

  /** `root`: what a kubelet calls its root directory. */
  constructor(root: string) {
    this.root = root;
  }

  get pods(): string {
    return join(this.root, 'pods');
  }

  get plugins(): string {
    return join(this.root, 'plugins', 'kubernetes.io', 'csi');
  }

  get registration(): string {
    return join(this.root, 'plugins_registry');
  }

  /** Where a file system is staged, once on this node. */
  stagedFileSystem(driver: string, handle: string): string {
    return join(this.plugins, driver, sha256(handle), 'globalmount');
  }

  /** The directory that a raw block volume is staged in. */
  stagedDevice(volumeName: string): string {
    return join(this.plugins, 'volumeDevices', 'staging', volumeName);
  }

  /** What is noted of a staged raw block volume. */
  dataOfDevice(volumeName: string): string {
    return join(this.plugins, 'volumeDevices', volumeName, 'data', 'device');
  }

  /** Where a file system is for one pod. */
  publishedFileSystem(podUid: string, volumeName: string): string {
    return join(this.pods, podUid, 'volumes', 'kubernetes.io~csi', volumeName, 'mount');
  }

  /** The file that stands for a raw block volume of one pod. */
  publishedDevice(podUid: string, volumeName: string): string {
    return join(this.plugins, 'volumeDevices', 'publish', volumeName, podUid);
  }

  /** A link to that, where one finds it by pod. */
  deviceOfPod(podUid: string, volumeName: string): string {
    return join(this.pods, podUid, 'volumeDevices', 'kubernetes.io~csi', volumeName);
  }
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The handle of a volume that a pod brings itself. */
export function inlineHandle(podUid: string, volumeName: string): string {
  return `csi-${sha256(podUid + volumeName)}`;
}

export function stageName(driver: string, handle: string): string {
  return `stage-${sha256(`${driver}\0${handle}`)}`;
}

export function publicationName(podUid: string, volumeName: string): string {
  return `publication-${sha256(`${podUid}\0${volumeName}`)}`;
}
