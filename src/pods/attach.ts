import { join } from 'node:path';
import type { Duplex, Readable, Writable } from 'node:stream';
import { connectSeqpacket } from '../linux/index.ts';
import { MONITOR_FILES } from '../oci/runtime/index.ts';
import { containerPaths } from './container-paths.ts';
import type { CommandIo } from './exec-stream.ts';
import type { Pods } from './pods.ts';
import { isLive } from './record-exit.ts';
import { runningContainer } from './running-container.ts';

/** How conmon marks its packets: the first byte names the stream. */
const STDERR = 3;

/**
 * Joins a client's streams to those of a container's first process. Answers the exit code
 * when the container has ended; undefined when that is not known.
 */
export async function attachContainer(
  pods: Pods,
  containerId: string,
  io: CommandIo,
  signal: AbortSignal,
): Promise<{ code: number } | undefined> {
  const { id, config } = runningContainer(pods, containerId, 'attach to');
  const { bundle } = containerPaths(pods, id);
  await using sockets = new AsyncDisposableStack();
  const connect = async () => {
    const socket = await connectSeqpacket(join(bundle, MONITOR_FILES.attach), signal);
    sockets.defer(() => void socket.destroy());
    return socket;
  };
  const socket = await connect();
  if (config.tty) void resize(pods, bundle, io);
  // Not on the same socket: what the monitor has not read of it when the container ends
  // would reset it, and lose the end of the output.
  if (io.stdin !== undefined) feed(io.stdin, config.stdin ? await connect() : undefined);
  await copyOut(socket, io, signal);
  signal.throwIfAborted();
  const container = pods.containers.find(id);
  if (container !== undefined && isLive(container)) {
    await pods.exits.wait(id, signal);
  }
  const ended = pods.containers.find(id);
  return ended?.state.phase === 'exited' ? { code: ended.state.exitCode } : undefined;
}

function feed(stdin: Readable, socket: Duplex | undefined): void {
  stdin.on('error', () => {});
  if (socket === undefined) {
    stdin.resume();
    return;
  }
  // The output comes here, too.
  socket.on('error', () => {}).resume();
  stdin.pipe(socket);
}

async function resize(pods: Pods, bundle: string, io: CommandIo): Promise<void> {
  for await (const size of io.resizes) await pods.conmon.resize(bundle, size).catch(() => {});
}

/** Hands packets on until the monitor closes the socket or the signal aborts. */
async function copyOut(socket: Duplex, io: CommandIo, signal: AbortSignal): Promise<void> {
  const onAbort = () => void socket.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for await (const packet of socket as AsyncIterable<Buffer>) {
      await write(packet[0] === STDERR ? io.stderr : io.stdout, packet.subarray(1));
    }
  } catch {
    // Destroyed, or the monitor has gone: either way there is nothing more.
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Waits while the client does not take more. */
async function write(stream: Writable | undefined, bytes: Buffer): Promise<void> {
  if (stream === undefined || stream.destroyed) return;
  await new Promise<void>((resolve) => {
    if (stream.write(bytes, () => resolve())) resolve();
  });
}
