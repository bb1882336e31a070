import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { errnoOf, ifExists } from '../base/index.ts';

/**
 * A process that can be told from a later one with the same number: a pid is trusted
 * only with its start time (clock ticks since boot, proc_pid_stat(5) field 22).
 */
export interface ProcessId {
  pid: number;
  startTime: number;
}

/** Who runs as `pid` now; undefined if nobody does. A zombie counts as gone. */
export function identifyProcess(pid: number): ProcessId | undefined {
  const stat = readStat(pid);
  return stat === undefined ? undefined : parseStat(pid, stat);
}

/** The process group that `pid` belongs to; undefined if there is no such process. */
export function processGroupOf(pid: number): number | undefined {
  const stat = readStat(pid);
  return stat === undefined ? undefined : Number(fieldsAfterName(stat)[2]);
}

/** The process that started `pid`, or took it over; undefined if there is no such process. */
export function parentOf(pid: number): number | undefined {
  const stat = readStat(pid);
  return stat === undefined ? undefined : Number(fieldsAfterName(stat)[1]);
}

/** Whether a signal such as SIGSTOP holds the process. */
export function isStopped({ pid }: ProcessId): boolean {
  const stat = readStat(pid);
  return stat !== undefined && fieldsAfterName(stat)[0] === 'T';
}

function readStat(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
}

/** The command name may hold anything, also spaces and parentheses. */
function fieldsAfterName(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function parseStat(pid: number, stat: string): ProcessId | undefined {
  const fields = fieldsAfterName(stat);
  const state = fields[0];
  if (state === 'Z' || state === 'X') return undefined;
  return { pid, startTime: Number(fields[19]) };
}

export function isAlive(process: ProcessId): boolean {
  return identifyProcess(process.pid)?.startTime === process.startTime;
}

/** Sends a signal if the process is still the one meant. Answers whether it was there. */
export function signalProcess(target: ProcessId, signal: NodeJS.Signals | number): boolean {
  if (!isAlive(target)) return false;
  try {
    process.kill(target.pid, signal);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
}

/** The kernel's id of this boot: what `/run` holds from another boot is stale. */
export async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/** The names of a process's cgroups by controller list, from /proc/PID/cgroup. */
export async function cgroupsOf(pid: number): Promise<Map<string, string>> {
  const text = (await ifExists(readFile(`/proc/${pid}/cgroup`, 'utf8'))) ?? '';
  const cgroups = new Map<string, string>();
  for (const line of text.trimEnd().split('\n')) {
    const [, controllers, ...path] = line.split(':');
    if (controllers !== undefined) cgroups.set(controllers, path.join(':'));
  }
  return cgroups;
}
