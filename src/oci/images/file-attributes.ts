import { chmodSync, fchmodSync, fchownSync, futimesSync, lchownSync } from 'node:fs';
import { errnoOf, KeelsonError } from '../../base/errors.ts';
import { setTimes, setXattr } from '../../linux/files.ts';
import type { SystemPath } from './byte-path.ts';
import type { DirectoryAttributes } from './layer-tree.ts';

type Owner = { uid: number; gid: number };
type Time = { seconds: number; nanoseconds: number };
type Xattrs = readonly [name: string, value: Buffer][];

/** Overlayfs's own attributes: in a layer they would lead it astray. */
const OVERLAY_PREFIXES = ['trusted.overlay.', 'user.overlay.'];
export const OPAQUE_XATTR = 'trusted.overlay.opaque';
const MAX_ID = 0xfffffffe;

/** Gives an open, newly made file its owner. It belongs to root until then. */
export function setFileOwner(fd: number, { uid, gid }: Owner): void {
  verifyIds(uid, gid);
  if (uid !== 0 || gid !== 0) fchownSync(fd, uid, gid);
}

/** The same for what is not open. */
export function setPathOwner(path: SystemPath, { uid, gid }: Owner): void {
  verifyIds(uid, gid);
  if (uid !== 0 || gid !== 0) lchownSync(path, uid, gid);
}

/** Sets the permissions of a file that was made with `mode` under `umask`. To be called after the owner is set, which clears set-uid. */
export function setFileMode(fd: number, mode: number, umask: number): void {
  if (mode !== (mode & 0o777 & ~umask)) fchmodSync(fd, mode);
}

/** The same for a device node or FIFO. */
export function setNodeMode(path: SystemPath, mode: number, umask: number): void {
  if (mode !== (mode & 0o777 & ~umask)) chmodSync(path, mode);
}

/** Times of an open file. Whole seconds take the faster way. */
export function setFileTime(fd: number, path: SystemPath, { seconds, nanoseconds }: Time): void {
  if (nanoseconds === 0) futimesSync(fd, seconds, seconds);
  else setTimes(path, seconds, nanoseconds);
}

/**
 * Sets extended attributes. Those that name overlayfs's own are refused, SELinux labels
 * are the host's to give, and `user.` attributes exist on files and directories only.
 */
export function setXattrs(path: SystemPath, xattrs: Xattrs, plain: boolean): void {
  for (const [name, value] of xattrs) {
    if (OVERLAY_PREFIXES.some((prefix) => name.startsWith(prefix))) {
      throw new KeelsonError('INVALID_ARGUMENT', `Cannot set attribute "${name}"`, {
        reason: 'it belongs to the overlay file system',
      });
    }
    if (name === 'security.selinux' || (name.startsWith('user.') && !plain)) continue;
    try {
      setXattr(path, name, value);
    } catch (error) {
      // A file system without such attributes: the file works without them, as elsewhere.
      if (errnoOf(error) !== 'EOPNOTSUPP' && errnoOf(error) !== 'ENOTSUP') throw error;
    }
  }
}

/** Makes a directory hide what lower layers have in it. */
export function setOpaque(path: SystemPath): void {
  setXattr(path, OPAQUE_XATTR, Buffer.from('y'));
}

/** Gives a directory what its entry says. */
export function setDirectoryAttributes(path: SystemPath, attributes: DirectoryAttributes): void {
  verifyIds(attributes.uid, attributes.gid);
  lchownSync(path, attributes.uid, attributes.gid);
  chmodSync(path, attributes.mode);
  setXattrs(path, attributes.xattrs, true);
  setTimes(path, attributes.mtime.seconds, attributes.mtime.nanoseconds);
}

function verifyIds(uid: number, gid: number): void {
  for (const id of [uid, gid]) {
    if (id >= 0 && id <= MAX_ID) continue;
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot set owner ${uid}:${gid}`, {
      reason: `${id} is not an id of a user or group`,
    });
  }
}
