import type { ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { raw, syscall } from './ffi.ts';
import { start } from './start.ts';

export interface PipedOptions {
  /** Which of the program's streams are pipes; the others are /dev/null. */
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  env?: Record<string, string | undefined>;
  cwd?: string;
  hideHybridCgroups?: boolean;
}

/** A program with its streams. All of them are the caller's to consume and to destroy. */
export interface PipedProcess {
  child: ChildProcess;
  stdin: Socket | undefined;
  stdout: Socket | undefined;
  stderr: Socket | undefined;
}

const O_CLOEXEC = 0o2000000;

/**
 * Starts a program whose streams are pipes. Node's own are sockets, which a program
 * cannot open again by the name /dev/stdout, as shell scripts do.
 */
export function startPiped(
  program: string,
  args: readonly string[],
  options: PipedOptions,
): PipedProcess {
  const { stdin, stdout, stderr, ...rest } = options;
  const input = stdin ? openPipe() : undefined;
  const output = stdout ? openPipe() : undefined;
  const errors = stderr ? openPipe() : undefined;
  try {
    const child = start(program, args, {
      ...rest,
      stdio: [input?.read ?? 'ignore', output?.write ?? 'ignore', errors?.write ?? 'ignore'],
    });
    return {
      child,
      stdin: input && new Socket({ fd: input.write, readable: false, writable: true }),
      stdout: output && new Socket({ fd: output.read, readable: true, writable: false }),
      stderr: errors && new Socket({ fd: errors.read, readable: true, writable: false }),
    };
  } catch (error) {
    for (const fd of [input?.write, output?.read, errors?.read]) if (fd) closeSync(fd);
    throw error;
  } finally {
    for (const fd of [input?.read, output?.write, errors?.write]) if (fd) closeSync(fd);
  }
}

/**
 * Waits until all streams have ended, or none has brought anything for so long: a program
 * left in the background may hold a pipe open for ever.
 */
export async function drained(
  streams: readonly (Socket | undefined)[],
  idleMilliseconds: number,
): Promise<void> {
  const open = () => streams.filter((stream) => stream !== undefined && !stream.closed);
  const received = () => open().reduce((sum, stream) => sum + (stream?.bytesRead ?? 0), 0);
  let before = -1;
  while (open().length > 0 && received() !== before) {
    before = received();
    await settled(open(), idleMilliseconds);
  }
  for (const stream of open()) stream?.destroy();
}

/** Resolves when the streams have closed or the time is over. */
function settled(streams: (Socket | undefined)[], milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    const closing = streams.map(
      (stream) => new Promise<void>((closed) => stream?.once('close', () => closed())),
    );
    void Promise.all(closing).then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function openPipe(): { read: number; write: number } {
  const ends = Buffer.alloc(8);
  syscall('pipe', () => raw.pipe2(ends, O_CLOEXEC));
  return { read: ends.readInt32LE(0), write: ends.readInt32LE(4) };
}
