import type { ChildProcess } from 'node:child_process';
import { NEVER } from '../base/index.ts';
import { drained, startPiped } from './piped-process.ts';
import { type Ending, exitOf, killGroup } from './start.ts';

export interface RunOptions {
  /** Aborting kills the program's whole process group with SIGKILL, unless `kill` does better. */
  signal?: AbortSignal;
  /**
   * What aborting does first, repeatedly. A program that does not end within a second is
   * killed anyway.
   */
  kill?: () => void;
  input?: string | Uint8Array;
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** Bytes kept of stdout and of stderr; the rest is read and dropped. Default 1 MiB. */
  outputLimit?: number;
  /** What happens when stdout exceeds the limit: the rest is dropped (default), or the program killed. */
  excess?: 'drop' | 'kill';
  /** Hide the cgroup v2 mount of a hybrid host, for programs that refuse it (crun). */
  hideHybridCgroups?: boolean;
  /**
   * After the program has ended, wait for its stdout and stderr to end until they bring
   * nothing for so many milliseconds. Default 500.
   */
  drain?: number;
}

export interface RunResult extends Ending {
  stdout: Buffer;
  stderr: Buffer;
}

const OUTPUT_LIMIT = 1024 * 1024;
const DRAIN = 500;
const KILL_PATIENCE = 1000;
const KILL_INTERVAL = 20;

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
  const running = startPiped(program, args, {
    stdin: options.input !== undefined,
    stdout: true,
    stderr: true,
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    hideHybridCgroups: options.hideHybridCgroups ?? false,
  });
  const ended = exitOf(running.child, program);
  using _kill = killOnAbort(running, signal, options.kill);
  try {
    const kill = () => killGroup(running.child.pid);
    const limit = options.outputLimit ?? OUTPUT_LIMIT;
    const stdout = collect(running.stdout, limit, options.excess === 'kill' ? kill : undefined);
    const stderr = collect(running.stderr, limit);
    running.stdin?.on('error', () => {}); // EPIPE: it ended without reading all.
    running.stdin?.end(options.input ?? '');
    const ending = await ended;
    await drained([running.stdout, running.stderr], options.drain ?? DRAIN);
    signal.throwIfAborted();
    return { ...ending, stdout: stdout(), stderr: stderr() };
  } finally {
    for (const stream of [running.stdin, running.stdout, running.stderr]) stream?.destroy();
  }
}

/**
 * Kills the program when the signal aborts, gently first if there is a way: again and again,
 * because what is to be killed may only be about to begin.
 */
export function killOnAbort(
  { child }: { child: ChildProcess },
  signal: AbortSignal,
  gently?: () => void,
): Disposable {
  const kill = () => killGroup(child.pid);
  const onAbort = () => {
    // Once it has ended, its number may be another's.
    if (child.exitCode !== null || child.signalCode !== null) return;
    if (gently === undefined) {
      kill();
      return;
    }
    gently();
    const again = setInterval(gently, KILL_INTERVAL);
    const timer = setTimeout(kill, KILL_PATIENCE);
    child.once('exit', () => {
      clearInterval(again);
      clearTimeout(timer);
    });
  };
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', onAbort) };
}

function collect(
  stream: NodeJS.ReadableStream | undefined,
  limit: number,
  onExcess?: () => void,
): () => Buffer {
  const chunks: Buffer[] = [];
  let size = 0;
  stream?.on('data', (chunk: Buffer) => {
    const kept = chunk.subarray(0, Math.max(0, limit - size));
    if (kept.length > 0) chunks.push(kept);
    size += kept.length;
    if (kept.length < chunk.length) onExcess?.();
  });
  return () => Buffer.concat(chunks);
}
