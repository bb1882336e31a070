import { closeSync, constants, openSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { span } from '../base/index.ts';
import {
  type ChildProcess,
  ConsoleSocket,
  exitOf,
  killGroup,
  killOnAbort,
  openPty,
  type Pty,
  start,
  startPiped,
  type TerminalSize,
} from '../linux/index.ts';
import type { ExecCommand } from '../oci/runtime/index.ts';
import { CommandOutput } from './command-output.ts';
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

/** A program left in the background may hold the streams: milliseconds to wait for more from it. */
const IDLE = 500;
/** The terminal of a command that has ended already may still have to be taken in: milliseconds. */
const HANDOVER = 200;
/** The exit code when the runtime itself was killed. */
const KILLED = 255;

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
  const { code, wrote } = await span(
    'oci.exec',
    { id: request.containerId, tty: request.tty },
    () => work(exec, io, signal),
  );
  const failure = code === 0 ? undefined : await exec.failure();
  if (failure === undefined) return { code };
  // Some runtimes have told the client already.
  if (!wrote) (io.stderr ?? io.stdout)?.write(`${failure.message}\n`);
  return { code: failure.exitCode };
}

interface Ended {
  code: number;
  /** Whether the client was sent anything. */
  wrote: boolean;
}

async function withPipes(exec: PreparedExec, io: CommandIo, signal: AbortSignal): Promise<Ended> {
  const { program, args, hideHybridCgroups } = exec.command;
  const running = startPiped(program, args, {
    stdin: io.stdin !== undefined,
    stdout: io.stdout !== undefined,
    stderr: io.stderr !== undefined,
    hideHybridCgroups,
  });
  const ended = exitOf(running.child, program);
  using _kill = killOnAbort(running, signal, exec.kill);
  feed(io.stdin, running.stdin);
  const outputs = [
    ...(running.stdout ? [new CommandOutput(running.stdout, io.stdout, signal)] : []),
    ...(running.stderr ? [new CommandOutput(running.stderr, io.stderr, signal)] : []),
  ];
  const { code } = await ended;
  running.stdin?.destroy();
  await Promise.all(outputs.map((output) => output.drained(IDLE)));
  signal.throwIfAborted();
  return { code: code ?? KILLED, wrote: outputs.some((output) => output.received > 0) };
}

async function withTerminal(
  exec: PreparedExec,
  io: CommandIo,
  signal: AbortSignal,
): Promise<Ended> {
  await using socket = await ConsoleSocket.listen(exec.consolePath ?? '');
  const { child, own } = startWithTerminal(exec.command);
  using _own = own;
  const ended = exitOf(child, exec.command.program);
  using _kill = killOnAbort({ child }, signal, exec.kill);
  const pty = own ?? (await handedOver(child, socket, signal));
  if (pty === undefined) {
    const { code } = await ended;
    signal.throwIfAborted();
    return { code: code ?? KILLED, wrote: false };
  }
  using terminal = pty;
  void resize(terminal, io.resizes, () => own && child.kill('SIGWINCH'));
  feed(io.stdin, terminal.stream);
  const output = new CommandOutput(terminal.stream, io.stdout, signal);
  const { code } = await ended;
  await output.drained(IDLE);
  signal.throwIfAborted();
  return { code: code ?? KILLED, wrote: output.received > 0 };
}

/** Starts the runtime, on a terminal of its own if it wants one. */
function startWithTerminal(command: ExecCommand): { child: ChildProcess; own: Pty | undefined } {
  const { program, args, hideHybridCgroups, terminal } = command;
  if (terminal === 'handed-over') {
    return {
      child: start(program, args, { stdio: 'ignore', hideHybridCgroups }),
      own: undefined,
    };
  }
  // Of a relay, the command's own terminal treats what passes.
  const { master, slavePath } = openPty({ raw: terminal === 'relayed' });
  const slave = openSync(slavePath, constants.O_RDWR | constants.O_NOCTTY);
  try {
    const stdio = [slave, slave, slave];
    return { child: start(program, args, { stdio, hideHybridCgroups }), own: master };
  } catch (error) {
    master[Symbol.dispose]();
    throw error;
  } finally {
    closeSync(slave);
  }
}

/** The command's terminal; undefined when the runtime ended without one, or the signal aborted. */
async function handedOver(
  child: ChildProcess,
  socket: ConsoleSocket,
  signal: AbortSignal,
): Promise<Pty | undefined> {
  const given = new AbortController();
  const giveUp = () => void setTimeout(() => given.abort(), HANDOVER);
  child.once('exit', giveUp);
  child.once('error', giveUp);
  try {
    return await socket.receive(AbortSignal.any([signal, given.signal]));
  } catch {
    // What is no terminal leaves a command that nobody hears.
    if (!signal.aborted && !given.signal.aborted) killGroup(child.pid);
    return undefined;
  }
}

/** Hands on what the client sends. Either side may break off: the command's end decides. */
function feed(from: Readable | undefined, to: Writable | undefined): void {
  if (from === undefined || to === undefined) return;
  pipeline(from, to).catch(() => {});
}

async function resize(
  terminal: Pty,
  sizes: AsyncIterable<TerminalSize>,
  onResized: () => void,
): Promise<void> {
  try {
    for await (const size of sizes) {
      terminal.resize(size);
      onResized();
    }
  } catch {
    // The terminal is at its end, or has no size.
  }
}
