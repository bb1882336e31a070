import { readdir, readFile, rm } from 'node:fs/promises';
import { ifExists } from '../base/index.ts';
import { killGroup, parentOf, processGroupOf } from '../linux/index.ts';

/**
 * Ends the commands in containers that a daemon which crashed was running for its clients:
 * nobody hears them any more. `directory` is where their files were.
 */
export async function endStaleExecs(directory: string): Promise<void> {
  const files = (await ifExists(readdir(directory))) ?? [];
  if (files.length === 0) return;
  for (const name of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(name)) continue;
    const args = ((await textOf(`/proc/${name}/cmdline`)) ?? '').split('\0');
    const pidFile = args[args.indexOf('--pid-file') + 1];
    if (pidFile?.startsWith(`${directory}/`)) await endExec(Number(name), pidFile);
  }
  await rm(directory, { recursive: true, force: true });
}

/** Kills the command's process group and then the runtime that waits for it. */
async function endExec(runtime: number, pidFile: string): Promise<void> {
  const pid = Number((await textOf(pidFile)) ?? 0);
  // The number may be another's by now, but not as a child of this runtime.
  if (pid > 0 && parentOf(pid) === runtime) killGroup(processGroupOf(pid));
  if (processGroupOf(runtime) === runtime) killGroup(runtime);
}

/** Undefined also of a process that has ended meanwhile. */
async function textOf(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
