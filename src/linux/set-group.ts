import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  lchownSync,
  openSync,
  readdirSync,
  type Stats,
} from 'node:fs';
import { errnoOf, KeelsonError } from '../base/index.ts';

export interface SetGroupRequest {
  root: string;
  gid: number;
  readOnly: boolean;
  /** Nothing is done when the root has the group and the permissions already. */
  onlyOnMismatch: boolean;
}

const O_PATH = 0o10000000;
/** Levels of directories: each holds a descriptor. */
const DEEPEST = 800;

/**
 * Gives a directory tree to a group, as a kubelet does for `fsGroup`: the group owns all
 * files and may read and write them; directories hand the group on. Links are neither
 * followed nor given permissions, and other file systems below are left alone. Whoever
 * swaps files meanwhile gains nothing, because each is held open while it is changed.
 * Synchronous: for a worker.
 */
export function setGroup(request: SetGroupRequest): void {
  const fd = openSync(request.root, O_PATH | constants.O_NOFOLLOW | constants.O_DIRECTORY);
  try {
    const info = fstatSync(fd);
    if (request.onlyOnMismatch && isRight(info, request)) return;
    walk(fd, info, request, 0);
  } finally {
    closeSync(fd);
  }
}

function isRight(info: Stats, request: SetGroupRequest): boolean {
  return info.gid === request.gid && modeFor(info, request) === (info.mode & 0o7777);
}

/** The root comes last: a walk that was cut off does not look done. */
function walk(fd: number, info: Stats, request: SetGroupRequest, depth: number): void {
  if (depth > DEEPEST) {
    throw new KeelsonError('OUT_OF_RANGE', `Cannot give "${request.root}" to a group`, {
      reason: `it has more than ${DEEPEST} levels of directories`,
    });
  }
  for (const name of readdirSync(`/proc/self/fd/${fd}`, { encoding: 'buffer' })) {
    const path = Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name]);
    visit(path, info.dev, request, depth);
  }
  change(fd, info, request);
}

function visit(path: Buffer, device: number, request: SetGroupRequest, depth: number): void {
  let fd: number;
  try {
    fd = openSync(path, O_PATH | constants.O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  try {
    const info = fstatSync(fd);
    if (info.dev !== device) return;
    if (info.isSymbolicLink()) lchownSync(path, info.uid, request.gid);
    else if (info.isDirectory()) walk(fd, info, request, depth + 1);
    else change(fd, info, request);
  } finally {
    closeSync(fd);
  }
}

/** Through /proc, where an O_PATH descriptor leads to its file and nowhere else. */
function change(fd: number, info: Stats, request: SetGroupRequest): void {
  const path = `/proc/self/fd/${fd}`;
  chownSync(path, info.uid, request.gid);
  chmodSync(path, modeFor(info, request));
}

function modeFor(info: Stats, { readOnly }: SetGroupRequest): number {
  const granted = readOnly ? 0o440 : 0o660;
  const mode = (info.mode & 0o7777) | granted;
  return info.isDirectory() ? mode | 0o2110 : mode;
}
