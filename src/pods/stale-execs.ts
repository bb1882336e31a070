import { readdir, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ifExists, messageOf, NEVER, withTimeout } from '../base/index.ts';
import { killGroup, parentOf, processGroupOf } from '../linux/index.ts';
import { containerOfInnerPid } from './exec-command.ts';
import type { Pods } from './pods.ts';

/** How long a sandbox may take to end a command before the start goes on, in milliseconds. */
const PATIENCE = 5_000;

/**
 * Ends the commands in containers that a daemon which crashed was running for its clients:
 * nobody hears them any more. `directory` is where their files were.
 */
export async function endStaleExecs(pods: Pods, directory: string): Promise<void> {
  const files = (await ifExists(readdir(directory))) ?? [];
  if (files.length === 0) return;
  const ends: Promise<void>[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(name)) continue;
    const args = ((await textOf(`/proc/${name}/cmdline`)) ?? '').split('\0').slice(0, -1);
    const pidFile = argumentOf(args, '--pid-file');
    if (!pidFile?.startsWith(`${directory}/`)) continue;
    const innerPidFile = argumentOf(args, '--internal-pid-file');
    const inner =
      innerPidFile !== undefined && dirname(innerPidFile) === directory
        ? endInSandbox(pods, innerPidFile)
        : Promise.resolve();
    ends.push(inner.then(() => endExec(Number(name), pidFile)));
  }
  await Promise.all(ends);
  await rm(directory, { recursive: true, force: true });
}

/**
 * gVisor: the command is no process of this host's kernel. As long as the runtime waits, its pid
 * is its own. Whose it is the file tells, not the arguments, which any process may have.
 */
async function endInSandbox(pods: Pods, pidFile: string): Promise<void> {
  const pid = await pidIn(pidFile);
  const containerId = containerOfInnerPid(pidFile);
  if (pid === undefined || containerId === undefined) return;
  const container = pods.containers.find(containerId);
  if (container === undefined) return;
  try {
    const runtime = pods.runtimes.find(container.handler);
    await runtime?.killInner(containerId, pid, withTimeout(NEVER, PATIENCE));
  } catch (error) {
    pods.logger.warn({ containerId, error }, `cannot end a command: ${messageOf(error)}`);
  }
}

/** Kills the command's process group and then the runtime that waits for it. */
async function endExec(runtime: number, pidFile: string): Promise<void> {
  const pid = await pidIn(pidFile);
  // The number may be another's by now, but not as a child of this runtime.
  if (pid !== undefined && parentOf(pid) === runtime) killGroup(processGroupOf(pid));
  if (processGroupOf(runtime) === runtime) killGroup(runtime);
}

/** What follows an option. */
function argumentOf(args: readonly string[], option: string): string | undefined {
  const index = args.indexOf(option);
  return index < 0 ? undefined : args[index + 1];
}

async function pidIn(file: string): Promise<number | undefined> {
  const pid = Number((await textOf(file)) ?? 0);
  return pid > 0 ? pid : undefined;
}

/** Undefined also of a process that has ended meanwhile. */
async function textOf(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
