import { KeelsonError } from '../base/index.ts';
import { listMounts, MS, mount } from './mounts.ts';

/** Options that one mount of a file system may have and another not. */
const FLAGS: Record<string, number> = {
  ro: MS.RDONLY,
  nosuid: MS.NOSUID,
  nodev: MS.NODEV,
  noexec: MS.NOEXEC,
  noatime: 1024,
  nodiratime: 2048,
  relatime: 1 << 21,
};

/** What is so without saying, and may be said. */
const DEFAULTS = new Set(['rw', 'suid', 'dev', 'exec', 'defaults', 'bind', 'rbind']);

/**
 * Gives a bind mount options of its own, beside those that it has. Fails with
 * INVALID_ARGUMENT for options that are the file system's.
 */
export function addBindOptions(target: string, options: readonly string[]): void {
  const unknown = options.find((option) => !(option in FLAGS) && !DEFAULTS.has(option));
  if (unknown !== undefined) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot use mount option "${unknown}"`, {
      reason:
        'a directory that is mounted once more takes only ro, nosuid, nodev, noexec, noatime, nodiratime, relatime',
    });
  }
  const wanted = flagsOf(options);
  if (wanted === 0) return;
  const present = listMounts().findLast((each) => each.target === target)?.options ?? [];
  mount({ target, flags: MS.BIND | MS.REMOUNT | flagsOf(present) | wanted });
}

function flagsOf(options: readonly string[]): number {
  return options.reduce((flags, option) => flags | (FLAGS[option] ?? 0), 0);
}
