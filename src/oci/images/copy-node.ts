import {
  type BigIntStats,
  chmodSync,
  constants,
  copyFileSync,
  lchownSync,
  linkSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs';
import {
  getXattr,
  listXattrs,
  makeNode,
  setTimes,
  setXattr,
  splitDeviceNumber,
} from '../../linux/files.ts';
import { type SystemPath, systemPath } from './byte-path.ts';
import type { Shown } from './merged-view.ts';

const NANOSECONDS = 1_000_000_000n;
const OVERLAY_PREFIX = 'trusted.overlay.';

/**
 * Copies a file, link or node of a layer with all that belongs to it, or links to `first`,
 * the copy of it that has been made. Answers the bytes that were added.
 */
export function copyNode(shown: Shown, to: SystemPath, first: SystemPath | undefined): number {
  if (first !== undefined) {
    linkSync(first, to);
    return 0;
  }
  const from = systemPath(shown.layer, shown.path);
  const { stat } = shown;
  if (stat.isFile()) copyFileSync(from, to, constants.COPYFILE_EXCL);
  else if (stat.isSymbolicLink()) symlinkSync(readlinkSync(from, 'buffer'), to);
  else {
    const { major, minor } = splitDeviceNumber(stat.rdev);
    makeNode(to, Number(stat.mode), major, minor);
  }
  copyAttributes(from, stat, to);
  return Number(stat.blocks) * 512;
}

/** Gives a file the owner, permissions, extended attributes and time of another. */
export function copyAttributes(from: SystemPath, stat: BigIntStats, to: SystemPath): void {
  lchownSync(to, Number(stat.uid), Number(stat.gid));
  if (!stat.isSymbolicLink()) chmodSync(to, Number(stat.mode & 0o7777n));
  for (const name of listXattrs(from)) {
    if (!name.startsWith(OVERLAY_PREFIX)) setXattr(to, name, getXattr(from, name));
  }
  setModified(to, stat);
}

/** Gives a file the time of another, which may be before 1970. */
export function setModified(path: SystemPath, { mtimeNs }: BigIntStats): void {
  const nanoseconds = ((mtimeNs % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  setTimes(path, Number((mtimeNs - nanoseconds) / NANOSECONDS), Number(nanoseconds));
}
