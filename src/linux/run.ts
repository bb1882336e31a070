import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { KeelsonError, NEVER } from '../base/index.ts';
import { withoutHybridCgroups } from './hybrid-cgroups.ts';

export interface RunOptions {
  /** Aborting kills the program's whole process group with SIGKILL. */
  signal?: AbortSignal;
  input?: string | Uint8Array;
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** Bytes kept of stdout and of stderr; the rest is read and dropped. Default 1 MiB. */
  outputLimit?: number;
  /** Hide the cgroup v2 mount of a hybrid host, for programs that refuse it (crun). */
  hideHybridCgroups?: boolean;
  /** Milliseconds to wait for stdout and stderr to end after the program has. Default 2000. */
  drain?: number;
}

export interface RunResult {
  /** The exit code, or undefined when a signal ended the program. */
  code: number | undefined;
  signal: NodeJS.Signals | undefined;
  stdout: Buffer;
  stderr: Buffer;
}

const MEBIBYTE = 1024 * 1024;

/**
 * Starts a program as the leader of a session of its own. Fails with NOT_FOUND if the
 * program is not there.
 */
export function start(
  program: string,
  args: readonly string[],
  options: SpawnOptions & { hideHybridCgroups?: boolean },
): ChildProcess {
  const { hideHybridCgroups, ...spawnOptions } = options;
  const launch = () => spawn(program, args, { ...spawnOptions, detached: true });
  return hideHybridCgroups ? withoutHybridCgroups(launch) : launch();
}

/**
 * Runs a program to its end and answers how it ended and what it wrote. Only failing to
 * start it, and being aborted, are errors: what an exit code means is the caller's to say.
 */
export async function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const signal = options.signal ?? NEVER;
  signal.throwIfAborted();
  const child = start(program, args, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    hideHybridCgroups: options.hideHybridCgroups ?? false,
  });
  const onAbort = () => killGroup(child.pid);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const limit = options.outputLimit ?? MEBIBYTE;
    const stdout = collect(child.stdout, limit);
    const stderr = collect(child.stderr, limit);
    child.stdin?.on('error', () => {}); // EPIPE: it ended without reading all.
    child.stdin?.end(options.input);
    const ended = await exitOf(child, program);
    // A background child may hold the pipes for ever: wait for their end only a while.
    await Promise.race([closed(child), delay(options.drain ?? 2000)]);
    child.stdout?.destroy();
    child.stderr?.destroy();
    signal.throwIfAborted();
    return { ...ended, stdout: stdout(), stderr: stderr() };
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Waits for a program that was started to end; its pipes may live on. */
export function exitOf(
  child: ChildProcess,
  program: string,
): Promise<Pick<RunResult, 'code' | 'signal'>> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === 'ENOENT';
      reject(
        new KeelsonError(missing ? 'NOT_FOUND' : 'UNKNOWN', `Cannot run "${program}"`, {
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

function collect(stream: NodeJS.ReadableStream | null, limit: number): () => Buffer {
  const chunks: Buffer[] = [];
  let size = 0;
  stream?.on('data', (chunk: Buffer) => {
    const kept = chunk.subarray(0, Math.max(0, limit - size));
    if (kept.length > 0) chunks.push(kept);
    size += kept.length;
  });
  return () => Buffer.concat(chunks);
}

function closed(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.stdout?.closed !== false && child.stderr?.closed !== false) return resolve();
    child.once('close', () => resolve());
  });
}

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
