import { type Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { span } from '../base/index.ts';
import {
  ConsoleSocket,
  drained,
  exitOf,
  killOnAbort,
  type Pty,
  startPiped,
  type TerminalSize,
} from '../linux/index.ts';
import { type PreparedExec, prepareExec } from './exec-command.ts';
import type { Pods } from './pods.ts';

/** A client's end of a command's streams; those that it did not ask for are undefined. */
export interface CommandIo {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  /** The sizes of the client's terminal. */
  readonly resizes: AsyncIterable<TerminalSize>;
}

export interface ExecStreamRequest {
  containerId: string;
  command: readonly string[];
  tty: boolean;
}

/** A program left in the background may hold the streams: how long to wait for more from it. */
const IDLE = 500;

/**
 * Runs a command in a running container with its streams joined to the client's, and
 * answers its exit code when it has ended and all its output was handed on. Aborting
 * kills the command's process group.
 */
export async function execStream(
  pods: Pods,
  request: ExecStreamRequest,
  io: CommandIo,
  signal: AbortSignal,
): Promise<{ code: number }> {
  await using exec = await prepareExec(pods, request.containerId, request);
  const work = request.tty ? withTerminal : withPipes;
  const code = await span('oci.exec', { id: request.containerId, tty: request.tty }, () =>
    work(exec, io, signal),
  );
  const failure = code === 0 ? undefined : await exec.failure();
  if (failure === undefined) return { code };
  (io.stderr ?? io.stdout)?.write(`${failure.message}\n`);
  return { code: failure.exitCode };
}

async function withPipes(exec: PreparedExec, io: CommandIo, signal: AbortSignal): Promise<number> {
  const running = startPiped(exec.command.program, exec.command.args, {
    stdin: io.stdin !== undefined,
    stdout: io.stdout !== undefined,
    stderr: io.stderr !== undefined,
    hideHybridCgroups: exec.command.hideHybridCgroups,
  });
  const ended = exitOf(running.child, exec.command.program);
  using _kill = killOnAbort(running, signal, exec.kill);
  feed(io.stdin, running.stdin);
  const outputs = [
    forward(running.stdout, io.stdout, signal),
    forward(running.stderr, io.stderr, signal),
  ];
  const { code } = await ended;
  running.stdin?.destroy();
  await drained([running.stdout, running.stderr], IDLE);
  await Promise.all(outputs);
  signal.throwIfAborted();
  return code ?? 255;
}

async function withTerminal(
  exec: PreparedExec,
  io: CommandIo,
  signal: AbortSignal,
): Promise<number> {
  await using socket = await ConsoleSocket.listen(exec.consolePath ?? '');
  const running = startPiped(exec.command.program, exec.command.args, {
    stdin: false,
    stdout: false,
    stderr: false,
    hideHybridCgroups: exec.command.hideHybridCgroups,
  });
  const failed = new AbortController();
  const ended = exitOf(running.child, exec.command.program).finally(() => failed.abort());
  using _kill = killOnAbort(running, signal, exec.kill);
  const received = AbortSignal.any([signal, failed.signal]);
  const pty = await socket.receive(received).catch(() => undefined);
  if (pty === undefined) {
    signal.throwIfAborted();
    return (await ended).code ?? 255;
  }
  using terminal = pty;
  void resize(terminal, io.resizes);
  feed(io.stdin, terminal.stream);
  const output = forward(terminal.stream, io.stdout, signal);
  const { code } = await ended;
  await Promise.race([output, idle(terminal.stream)]);
  signal.throwIfAborted();
  return code ?? 255;
}

/** Hands on what the client sends. Either side may break off: the command's end decides. */
function feed(from: Readable | undefined, to: Writable | undefined): void {
  if (from === undefined || to === undefined) return;
  pipeline(from, to).catch(() => {});
}

/** Hands on output to its end; without a taker it is read and dropped. */
async function forward(
  from: Readable | undefined,
  to: Writable | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (from === undefined) return;
  const sink = to ?? new Writable({ write: (_chunk, _encoding, done) => done() });
  try {
    await pipeline(from, sink, { signal, end: false });
  } catch {
    // The client has left, or the stream was given up after the command's end.
  }
}

async function resize(terminal: Pty, sizes: AsyncIterable<TerminalSize>): Promise<void> {
  for await (const size of sizes) terminal.resize(size);
}

/** Resolves when a terminal has brought nothing for a while. */
function idle(stream: Readable): Promise<void> {
  return new Promise((resolve) => {
    let timer = setTimeout(resolve, IDLE);
    stream.on('data', () => {
      clearTimeout(timer);
      timer = setTimeout(resolve, IDLE);
    });
  });
}
