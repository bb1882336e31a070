import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { isatty } from 'node:tty';
import { abandonOn, errnoOf, KeelsonError, sleep } from '../base/index.ts';
import { SystemCallError, syscall } from './ffi.ts';
import { Pty } from './pty.ts';
import { socketCalls } from './socket-calls.ts';

const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** cmsg(3): length, level and type, then one descriptor, padded. */
const CMSG_HEADER = 16;
const CMSG_SPACE = 24;
const PAYLOAD_SIZE = 4096;
const LONGEST_PAUSE_MILLISECONDS = 32;

/**
 * The socket on which an OCI runtime hands over the master of the pty that it made inside
 * the container (`--console-socket`).
 *
 *     await using console = await ConsoleSocket.listen(path);
 *     // start the runtime with --console-socket console.path
 *     using pty = await console.receive(signal);
 */
export class ConsoleSocket implements AsyncDisposable {
  readonly path: string;
  readonly #server: Server;
  readonly #accepted = Promise.withResolvers<Socket>();
  #connection: Socket | undefined;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
    server.once('connection', (socket) => {
      server.close();
      this.#connection = socket.on('error', () => {});
      this.#accepted.resolve(socket);
    });
  }

  /** Makes the socket at `path`, for root alone; the path must be shorter than 108 bytes. */
  static async listen(path: string): Promise<ConsoleSocket> {
    const server = createServer({ pauseOnConnect: true });
    const listening = once(server, 'listening');
    server.listen(path);
    await listening;
    await chmod(path, 0o600);
    return new ConsoleSocket(path, server);
  }

  /** Waits for the runtime to send the pty. Abort when the runtime has ended without. */
  async receive(signal: AbortSignal): Promise<Pty> {
    const socket = await abandonOn(signal, this.#accepted.promise);
    for (let pause = 1; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MILLISECONDS)) {
      const received = receiveDescriptor(descriptorOf(socket));
      if (received !== undefined) return new Pty(expectTerminal(received));
      await sleep(pause, signal);
    }
  }

  /** Removes the socket. A pty that was received lives on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection?.destroy();
    this.#server.close();
    await rm(this.path, { force: true });
  }
}

/** Node does not tell the descriptor of a socket; its handle does. */
function descriptorOf(socket: Socket): number {
  const { _handle } = socket as unknown as { _handle: { fd: number } | null };
  if (_handle === null) throw handover('the connection is closed');
  return _handle.fd;
}

/** The descriptor that came with a message (unix(7), SCM_RIGHTS); undefined if none is there yet. */
function receiveDescriptor(socket: number): number | undefined {
  const control = Buffer.alloc(CMSG_SPACE);
  const message = {
    name: null,
    nameLength: 0,
    vectors: [{ base: Buffer.alloc(PAYLOAD_SIZE), length: PAYLOAD_SIZE }],
    vectorCount: 1,
    control,
    controlLength: control.length,
    flags: 0,
  };
  try {
    const flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
    const size = syscall('recvmsg', () => socketCalls.recvmsg(socket, message, flags));
    if (size === 0) throw handover('the runtime closed the connection');
  } catch (error) {
    if (error instanceof SystemCallError && errnoOf(error) === 'EAGAIN') return undefined;
    throw error;
  }
  const length = Number(control.readBigUInt64LE(0));
  const isRights = control.readInt32LE(8) === SOL_SOCKET && control.readInt32LE(12) === SCM_RIGHTS;
  if (length !== CMSG_HEADER + 4 || !isRights) throw handover('the message holds no descriptor');
  return control.readInt32LE(CMSG_HEADER);
}

function expectTerminal(fd: number): number {
  if (isatty(fd)) return fd;
  closeSync(fd);
  throw handover('the descriptor is not a terminal');
}

function handover(reason: string): KeelsonError {
  return new KeelsonError('INTERNAL', 'Cannot receive the terminal from the OCI runtime', {
    reason,
  });
}
