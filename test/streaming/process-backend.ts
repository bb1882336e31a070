import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { type Duplex, PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { splice } from '../../src/base/index.ts';
import { connectLoopback, exitOf, killGroup, openPty, start } from '../../src/linux/index.ts';
import type {
  AttachRequest,
  ExecRequest,
  ExitStatus,
  SessionIo,
  StreamingBackend,
} from '../../src/streaming/index.ts';

/**
 * Stands in for containers: commands are programs of this machine, a container that can be
 * attached to is one program, a sandbox is a network namespace or the host's.
 */
export class ProcessBackend implements StreamingBackend {
  readonly namespaces = new Map<string, string>();
  readonly containers = new Map<string, ChildProcess>();
  /** The process ids of all commands that were run. */
  readonly pids: number[] = [];

  async exec(request: ExecRequest, io: SessionIo, signal: AbortSignal): Promise<ExitStatus> {
    return request.tty
      ? this.#execOnTerminal(request, io, signal)
      : this.#execOnPipes(request, io, signal);
  }

  async #execOnPipes(
    request: ExecRequest,
    io: SessionIo,
    signal: AbortSignal,
  ): Promise<ExitStatus> {
    const [program = '', ...args] = request.command;
    const child = start(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.pids.push(child.pid ?? 0);
    const onAbort = () => killGroup(child.pid);
    signal.addEventListener('abort', onAbort, { once: true });
    const ended = exitOf(child, program);
    ended.catch(() => {});
    child.stdin!.on('error', () => {});
    if (io.stdin === undefined) child.stdin!.end();
    else pipeline(io.stdin, child.stdin!).catch(() => {});
    const copied = Promise.allSettled([
      copyOut(child.stdout!, io.stdout),
      copyOut(child.stderr!, io.stderr),
    ]);
    try {
      const { code, signal: killer } = await ended;
      await copied;
      return { code: code ?? 128 + (killer === undefined ? 0 : constants.signals[killer]) };
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #execOnTerminal(
    request: ExecRequest,
    io: SessionIo,
    signal: AbortSignal,
  ): Promise<ExitStatus> {
    const { master, slavePath } = openPty();
    using pty = master;
    // A session leader that opens a terminal gets it as its controlling terminal.
    const script = 'exec 0<>"$0" 1>&0 2>&0; exec "$@"';
    const child = start('/bin/busybox', ['sh', '-c', script, slavePath, ...request.command], {
      stdio: 'ignore',
    });
    this.pids.push(child.pid ?? 0);
    const ended = exitOf(child, 'sh');
    const onAbort = () => pty[Symbol.dispose]();
    signal.addEventListener('abort', onAbort, { once: true });
    pty.stream.on('error', () => {});
    void followSizes(io, (size) => pty.resize(size));
    io.stdin?.pipe(pty.stream, { end: false });
    await copyOut(pty.stream, io.stdout).catch(() => {});
    signal.removeEventListener('abort', onAbort);
    killGroup(signal.aborted ? child.pid : undefined);
    const { code } = await ended;
    return { code: code ?? 137 };
  }

  /** The container's first process must have been started with pipes. */
  async attach(
    request: AttachRequest,
    io: SessionIo,
    signal: AbortSignal,
  ): Promise<ExitStatus | undefined> {
    const child = this.containers.get(request.containerId);
    if (child === undefined) throw new Error(`no container ${request.containerId}`);
    const taps = [tap(child.stdout!, io.stdout), tap(child.stderr!, io.stderr)];
    const type = (chunk: Buffer) => child.stdin!.write(chunk);
    io.stdin?.on('data', type);
    try {
      const [code] = (await once(child, 'close', { signal })) as [number | null];
      return code === null ? undefined : { code };
    } finally {
      io.stdin?.off('data', type);
      for (const untap of taps) untap();
    }
  }

  async portForward(
    sandboxId: string,
    port: number,
    stream: Duplex,
    signal: AbortSignal,
  ): Promise<void> {
    const socket = await connectLoopback(this.namespaces.get(sandboxId), port, signal);
    await splice(stream, socket, signal);
  }
}

async function followSizes(
  io: SessionIo,
  resize: (size: { width: number; height: number }) => void,
) {
  for await (const size of io.resizes) resize(size);
}

async function copyOut(from: Readable, to: SessionIo['stdout']): Promise<void> {
  await pipeline(from, to ?? new PassThrough().resume());
}

function tap(from: Readable, to: SessionIo['stdout']): () => void {
  const copy = (chunk: Buffer) => to?.write(chunk);
  from.on('data', copy);
  return () => from.off('data', copy);
}
