import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ifExists, KeelsonError, NEVER, newId } from '../base/index.ts';
import { killGroup, processGroupOf } from '../linux/index.ts';
import { cleanMessage, type ExecCommand, type ExecFiles } from '../oci/runtime/index.ts';
import { runtimeConfigText } from '../oci/spec/index.ts';
import { containerPaths } from './container-paths.ts';
import { execProcess, readSpec } from './container-spec.ts';
import type { Pods } from './pods.ts';
import { runningContainer } from './running-container.ts';

/** What a shell answers for a command that is not there, or cannot be run. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/** How runtimes say it of files without the right to be run, of no format, and of directories. */
const NO_PROGRAM =
  /[Pp]ermission denied|[Ee]xec format error|is a directory|open executable: Operation not permitted/;

export interface PreparedExec extends AsyncDisposable {
  command: ExecCommand;
  /** Where the runtime connects to hand over the terminal; undefined without one. */
  consolePath: string | undefined;
  /** For errors: `Cannot run "x" in container "y"`. */
  action: string;
  /**
   * Kills the command with its process group, which is not the runtime's own: the runtime
   * then reaps it and ends by itself.
   */
  kill(): void;
  /** Why the runtime could not run the command, with the exit code that a shell would give. */
  failure(): Promise<{ exitCode: number; message: string } | undefined>;
}

/**
 * Writes down what a command in a container is, so that the runtime can be started with
 * it. Fails unless the container runs. Disposing removes the files.
 */
export async function prepareExec(
  pods: Pods,
  containerId: string,
  request: { command: readonly string[]; tty: boolean },
): Promise<PreparedExec> {
  const container = runningContainer(pods, containerId, 'run a command in');
  pods.migrations.expect();
  const action = `Cannot run ${JSON.stringify(request.command[0])} in container "${container.id}"`;
  // Not in the container's own directory: a socket's path has only 107 bytes.
  const directory = join(pods.settings.stateDirectory, 'exec');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const files = filesIn(directory, container.id, request.tty);
  const spec = await readSpec(containerPaths(pods, container.id).bundle);
  const process = execProcess(spec, request.command, request.tty);
  await writeFile(files.process, runtimeConfigText(process), { mode: 0o600 });
  const runtime = pods.runtimes.get(container.handler);
  return {
    command: runtime.execCommand(container.id, files),
    consolePath: files.console,
    action,
    kill: runtime.needsSandbox
      ? killOnce(files.innerPid, (pid) => runtime.killInner(container.id, pid, NEVER))
      : () => killGroup(groupIn(files.pid)),
    failure: () => failureIn(files.log, action),
    [Symbol.asyncDispose]: async () => {
      const { console: tty = files.log, ...others } = files;
      const paths = [tty, ...Object.values(others)];
      await Promise.all(paths.map((path) => rm(path, { force: true })));
    },
  };
}

function filesIn(directory: string, containerId: string, tty: boolean): ExecFiles {
  const id = newId().slice(0, 16);
  const base = join(directory, id);
  return {
    process: `${base}.json`,
    pid: `${base}.pid`,
    innerPid: join(directory, innerPidName(id, containerId)),
    log: `${base}.log`,
    console: tty ? `${base}.tty` : undefined,
  };
}

/** The name of the file with a command's pid in its sandbox; it says in whose container that is. */
function innerPidName(id: string, containerId: string): string {
  return `${id}.${containerId}`;
}

/** The container of such a file; undefined if its name is another's. */
export function containerOfInnerPid(path: string): string | undefined {
  return /^[0-9a-f]{16}\.([0-9a-f]{64})$/.exec(basename(path))?.[1];
}

function groupIn(pidFile: string): number | undefined {
  const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0;
  return pid > 0 ? processGroupOf(pid) : undefined;
}

/** Kills the process of a pid file as soon as there is one, however often it is asked to. */
function killOnce(pidFile: string, kill: (pid: number) => Promise<void>): () => void {
  let isKilled = false;
  return () => {
    const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0;
    if (isKilled || pid <= 0) return;
    isKilled = true;
    kill(pid).catch(() => {}); // The runtime's own process is killed when this does not help.
  };
}

/** The runtime logs its own failures only; those of the command are the command's. */
async function failureIn(logFile: string, action: string) {
  const log = (await ifExists(readFile(logFile, 'utf8'))) ?? '';
  const errors = log.split('\n').filter((line) => /"level"\s*:\s*"(error|fatal)"/.test(line));
  const last = errors.at(-1);
  if (last === undefined) return undefined;
  const message = cleanMessage(last);
  if (/not found|[Nn]o such file/.test(message)) return { exitCode: NOT_FOUND, message };
  if (NO_PROGRAM.test(message)) return { exitCode: NOT_EXECUTABLE, message };
  throw new KeelsonError('UNKNOWN', action, { reason: message });
}
