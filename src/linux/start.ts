import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { KeelsonError } from '../base/index.ts';
import { withoutHybridCgroups } from './hybrid-cgroups.ts';

export type { ChildProcess };

/** How a program ended. */
export interface Ending {
  /** The exit code, or undefined when a signal ended the program. */
  code: number | undefined;
  signal: NodeJS.Signals | undefined;
}

/**
 * What a service manager says to this process alone (sd_notify(3), sd_listen_fds(3)). A
 * container runtime that inherits it takes the container for the service, and waits for it
 * to say that it is ready.
 */
const OWN_VARIABLES = {
  NOTIFY_SOCKET: undefined,
  LISTEN_PID: undefined,
  LISTEN_FDS: undefined,
  LISTEN_FDNAMES: undefined,
};

/**
 * Starts a program as the leader of a session of its own. That there is no such program
 * shows in `exitOf`.
 */
export function start(
  program: string,
  args: readonly string[],
  options: SpawnOptions & { hideHybridCgroups?: boolean },
): ChildProcess {
  const { hideHybridCgroups, ...spawnOptions } = options;
  const env = { ...(options.env ?? process.env), ...OWN_VARIABLES };
  const launch = () => spawn(program, args, { ...spawnOptions, env, detached: true });
  return hideHybridCgroups ? withoutHybridCgroups(launch) : launch();
}

/**
 * Waits for a program that was just started to end; its pipes may live on. Fails with
 * FAILED_PRECONDITION if the program is not there: NOT_FOUND would tell a kubelet that
 * the container which it asked for is gone.
 */
export function exitOf(child: ChildProcess, program: string): Promise<Ending> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === 'ENOENT';
      reject(
        new KeelsonError(missing ? 'FAILED_PRECONDITION' : 'UNKNOWN', `Cannot run "${program}"`, {
          cause,
          ...(missing ? { reason: 'there is no such program' } : {}),
        }),
      );
    });
    child.once('exit', (code, signal) =>
      resolve({ code: code ?? undefined, signal: signal ?? undefined }),
    );
  });
}

/** Kills a process started with `start`, and all of its process group. */
export function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended meanwhile.
  }
}
