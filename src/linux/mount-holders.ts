import { readdir, readFile, readlink } from 'node:fs/promises';
import { errnoOf } from '../base/index.ts';
import { identifyProcess, type ProcessId } from './processes.ts';

/** A process that keeps a mount from being taken off, and with what. */
export interface MountHolder extends ProcessId {
  command: string;
  /** `cwd`, `root`, `exe`, `file` or `map`. */
  by: string;
  path: string;
}

/** Processes looked at side by side. */
const TOGETHER = 32;

/**
 * Who has something below `target` open, as a working directory, a root, a program, a file
 * or a mapping (what fuser(1) -m tells). Processes that end meanwhile are left out.
 */
export async function mountHolders(target: string): Promise<MountHolder[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found: MountHolder[] = [];
  for (let index = 0; index < pids.length; index += TOGETHER) {
    const some = pids.slice(index, index + TOGETHER);
    found.push(...(await Promise.all(some.map((pid) => holdOf(pid, target)))).flat());
  }
  return found;
}

async function holdOf(pid: number, target: string): Promise<MountHolder[]> {
  const hold = await firstHold(pid, target);
  const process = hold === undefined ? undefined : identifyProcess(pid);
  if (hold === undefined || process === undefined) return [];
  const command = (await orNothing(readFile(`/proc/${pid}/comm`, 'utf8')))?.trim() ?? '';
  return [{ ...process, command, ...hold }];
}

async function firstHold(
  pid: number,
  target: string,
): Promise<{ by: string; path: string } | undefined> {
  for (const by of ['cwd', 'root', 'exe']) {
    const path = await orNothing(readlink(`/proc/${pid}/${by}`));
    if (isBelow(path, target)) return { by, path };
  }
  for (const fd of (await orNothing(readdir(`/proc/${pid}/fd`))) ?? []) {
    const path = await orNothing(readlink(`/proc/${pid}/fd/${fd}`));
    if (isBelow(path, target)) return { by: 'file', path };
  }
  const maps = (await orNothing(readFile(`/proc/${pid}/maps`, 'utf8'))) ?? '';
  for (const line of maps.split('\n')) {
    const path = line.slice(line.indexOf('/'));
    if (line.includes('/') && isBelow(path, target)) return { by: 'map', path };
  }
  return undefined;
}

function isBelow(path: string | undefined, target: string): path is string {
  return path !== undefined && (path === target || path.startsWith(`${target}/`));
}

/** What /proc says of processes that end, or are none of ours, is nothing. */
async function orNothing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (
      ['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'ENOTDIR', 'EINVAL'].includes(errnoOf(error) ?? '')
    ) {
      return undefined;
    }
    throw error;
  }
}
