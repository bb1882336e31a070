import { readdir, readFile, rm } from 'node:fs/promises';
import { ifExists, messageOf, NEVER } from '../base/index.ts';
import { killGroup, parentOf, processGroupOf } from '../linux/index.ts';
import type { Pods } from './pods.ts';

/**
 * Ends the commands in containers that a daemon which crashed was running for its clients:
 * nobody hears them any more. `directory` is where their files were.
 */
export async function endStaleExecs(pods: Pods, directory: string): Promise<void> {
  const files = (await ifExists(readdir(directory))) ?? [];
  if (files.length === 0) return;
  for (const name of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(name)) continue;
    const args = ((await textOf(`/proc/${name}/cmdline`)) ?? '').split('\0').slice(0, -1);
    const pidFile = argumentOf(args, '--pid-file');
    if (!pidFile?.startsWith(`${directory}/`)) continue;
    await endInSandbox(pods, args);
    await endExec(Number(name), pidFile);
  }
  await rm(directory, { recursive: true, force: true });
}

/** gVisor: the command is no process of this host's kernel. As long as the runtime waits, its pid is its own. */
async function endInSandbox(pods: Pods, args: readonly string[]): Promise<void> {
  const containerId = args.at(-1) ?? '';
  const pid = await pidIn(argumentOf(args, '--internal-pid-file'));
  const container = pods.containers.find(containerId);
  if (pid === undefined || container === undefined) return;
  try {
    await pods.runtimes.find(container.handler)?.killInner(containerId, pid, NEVER);
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

async function pidIn(file: string | undefined): Promise<number | undefined> {
  const pid = file === undefined ? 0 : Number((await textOf(file)) ?? 0);
  return pid > 0 ? pid : undefined;
}

/** Undefined also of a process that has ended meanwhile. */
async function textOf(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
