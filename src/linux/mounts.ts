import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from '../base/index.ts';
import { cString, raw, syscall } from './ffi.ts';

/** Flags of mount(2), from linux/mount.h. */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  REMOUNT: 32,
  BIND: 4096,
  REC: 16384,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
} as const;

const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

export interface MountRequest {
  source?: string;
  target: string;
  type?: string;
  /** A union of `MS` values. */
  flags?: number;
  /** File system options, such as `size=64m,mode=1777`. */
  data?: string;
}

/** mount(2). */
export function mount(request: MountRequest): void {
  syscall(`mount ${request.type ?? ''} ${request.source ?? ''} on ${request.target}`, () =>
    raw.mount(
      request.source === undefined ? null : cString(request.source),
      cString(request.target),
      request.type ?? null,
      BigInt(request.flags ?? 0),
      request.data === undefined ? null : cString(request.data),
    ),
  );
}

/** Makes `source` visible at `target` too. */
export function bindMount(
  source: string,
  target: string,
  options: { recursive?: boolean } = {},
): void {
  mount({ source, target, flags: MS.BIND | (options.recursive ? MS.REC : 0) });
}

/**
 * Takes the topmost mount off `target`, at once for new users and when the last user is
 * gone for the rest. Answers false when nothing was mounted there. Links are not followed.
 */
export function unmount(target: string): boolean {
  try {
    syscall(`unmount ${target}`, () => raw.umount2(cString(target), MNT_DETACH | UMOUNT_NOFOLLOW));
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'EINVAL' || errno === 'ENOENT') return false;
    throw error;
  }
}

/** Takes all mounts off `target`, however many are stacked there. */
export function unmountAll(target: string): void {
  while (unmount(target));
}

/** One line of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface MountInfo {
  id: number;
  parent: number;
  root: string;
  target: string;
  options: string[];
  /** Propagation: `shared:N`, `master:N`, `propagate_from:N`, `unbindable`. */
  propagation: string[];
  type: string;
  source: string;
  superOptions: string[];
}

/** The mounts that this process sees, in the kernel's order. */
export function listMounts(): MountInfo[] {
  return parseMountInfo(readFileSync('/proc/thread-self/mountinfo', 'utf8'));
}

export function parseMountInfo(text: string): MountInfo[] {
  return text.split('\n').flatMap((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const [id, parent, , root, target, options, ...propagation] = left.split(' ');
    const [type, source, superOptions] = right.split(' ');
    if (target === undefined || type === undefined) return [];
    return {
      id: Number(id),
      parent: Number(parent),
      root: unescapeOctal(root ?? ''),
      target: unescapeOctal(target),
      options: (options ?? '').split(','),
      propagation,
      type,
      source: unescapeOctal(source ?? ''),
      superOptions: (superOptions ?? '').split(','),
    };
  });
}

/** The kernel writes space, tab, newline and backslash as three octal digits. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** The mount that `path` lies on: the last one whose target is `path` or above it. */
export function mountOf(path: string, mounts: MountInfo[] = listMounts()): MountInfo | undefined {
  let best: MountInfo | undefined;
  for (const mount of mounts) {
    const prefix = mount.target === '/' ? '/' : `${mount.target}/`;
    if (path !== mount.target && !path.startsWith(prefix)) continue;
    if (best === undefined || mount.target.length >= best.target.length) best = mount;
  }
  return best;
}

export interface OverlayRequest {
  /** Read-only directories, topmost first. */
  lower: readonly string[];
  /** What is written; nothing can be without it. */
  upper?: string;
  /** An empty directory on the same file system as `upper`. */
  work?: string;
  target: string;
  /** SELinux label of all files; undefined leaves them what labels they have. */
  context?: string | undefined;
}

/** mount(2) hands the options over in one page. */
const OPTIONS_LIMIT = 4095;

/**
 * Mounts an overlay filesystem. When the options would not fit a page, the layers' common
 * directory becomes the working directory for the moment and they are named relative to it.
 */
export function mountOverlay(request: OverlayRequest): void {
  const { upper, work } = request;
  const writable =
    upper === undefined || work === undefined
      ? ''
      : `,upperdir=${escapeOption(upper)},workdir=${escapeOption(work)}`;
  const rest = `${writable},index=off${contextOption(request.context)}`;
  const options = (lower: readonly string[]) =>
    `lowerdir=${lower.map(escapeOption).join(':')}${rest}`;
  const target = { source: 'overlay', target: request.target, type: 'overlay' };
  const absolute = options(request.lower);
  if (Buffer.byteLength(absolute) <= OPTIONS_LIMIT) {
    mount({ ...target, data: absolute });
    return;
  }
  const common = commonDirectory(request.lower);
  const relative = options(request.lower.map((path) => path.slice(common.length)));
  const home = process.cwd();
  process.chdir(common);
  try {
    mount({ ...target, data: relative });
  } finally {
    process.chdir(home);
  }
}

/** The mount option that gives all files of a file system one SELinux label, after others. */
export function contextOption(label: string | undefined): string {
  return label === undefined ? '' : `,context="${label}"`;
}

/** In overlayfs options, commas end a value and colons a layer. */
function escapeOption(path: string): string {
  return path.replace(/[\\,:]/g, '\\$&');
}

/** The deepest directory that all paths lie below, with a slash at its end. */
function commonDirectory(paths: readonly string[]): string {
  const withSlash = (path: string) => (path.endsWith('/') ? path : `${path}/`);
  let common = withSlash(dirname(paths[0] ?? '/'));
  while (!paths.every((path) => path.startsWith(common))) common = withSlash(dirname(common));
  return common;
}
