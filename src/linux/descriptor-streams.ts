import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { Duplex, type DuplexOptions } from 'node:stream';
import { errnoOf } from '../base/index.ts';
import { raw, syscall } from './ffi.ts';
import { AF, O, SOCK, socketCalls } from './socket-calls.ts';

const FIONBIO = 0x5421n;
const READ_SIZE = 65536;

export interface DescriptorStreamOptions {
  /** One `read` of the descriptor becomes one object, so that packets keep their bounds. */
  packets?: boolean;
  /** Bytes handed to one `write` at most. Default: all of a chunk. */
  writeSize?: number;
  /** Whether ending the writable side shuts it down; a pty has no such thing. Default true. */
  halfClose?: boolean;
}

/**
 * A stream over any descriptor that epoll knows, also those that Node refuses (pty masters,
 * SOCK_SEQPACKET sockets). Owns the descriptor. Reads only on demand; each chunk written is
 * one write(2), never joined with the next. EIO on reading, which is how a pty says that its
 * other side is closed, is an ordinary end.
 */
export class DescriptorStream extends Duplex {
  readonly #socket: Socket;
  readonly #descriptor: number;
  readonly #writeSize: number;
  readonly #halfClose: boolean;

  constructor(fd: number, options: DescriptorStreamOptions = {}) {
    const mode: DuplexOptions = options.packets
      ? { readableObjectMode: true, readableHighWaterMark: 8 }
      : {};
    super({ ...mode, allowHalfOpen: true, emitClose: true });
    this.#writeSize = options.writeSize ?? Number.POSITIVE_INFINITY;
    this.#halfClose = options.halfClose ?? true;
    const { socket, descriptor } = adopt(fd, (chunk) => this.push(chunk));
    socket.once('end', () => this.push(null));
    socket.on('error', (error) => {
      if (errnoOf(error) === 'EIO' && !this.readableEnded) this.push(null);
      else this.destroy(error);
    });
    this.#socket = socket;
    this.#descriptor = descriptor;
  }

  /** Calls `work` with the descriptor, unless it is closed already. */
  withDescriptor<T>(work: (fd: number) => T): T | undefined {
    return this.#socket.destroyed ? undefined : work(this.#descriptor);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (chunk.length <= this.#writeSize) {
      this.#socket.write(chunk, done);
      return;
    }
    this.#socket.write(chunk.subarray(0, this.#writeSize), (error) => {
      if (error) done(error);
      else this._write(chunk.subarray(this.#writeSize), 'buffer', done);
    });
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#halfClose) this.#socket.end(() => done());
    else done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}

/**
 * A net.Socket over `fd`. libuv opens only what it recognises as a stream, so it is given
 * one end of a socket pair, whose descriptor is then made to mean `fd`; nothing has read
 * from it or registered it with epoll by then.
 */
function adopt(
  fd: number,
  onChunk: (chunk: Buffer) => boolean,
): { socket: Socket; descriptor: number } {
  setNonBlocking(fd);
  const pair = [-1, -1];
  const type = SOCK.STREAM | SOCK.CLOEXEC | SOCK.NONBLOCK;
  syscall('socketpair', () => socketCalls.socketpair(AF.UNIX, type, 0, pair));
  const [own = -1, other = -1] = pair;
  try {
    const socket = new Socket({
      fd: own,
      allowHalfOpen: true,
      manualStart: true,
      onread: {
        buffer: Buffer.allocUnsafeSlow(READ_SIZE),
        callback: (size: number, buffer: Uint8Array) =>
          onChunk(Buffer.from(buffer.subarray(0, size))),
      },
    } as ConstructorParameters<typeof Socket>[0]);
    syscall('dup3', () => socketCalls.dup3(fd, own, O.CLOEXEC));
    return { socket, descriptor: own };
  } finally {
    closeSync(other);
    closeSync(fd);
  }
}

/** Closes the descriptor if it fails. */
function setNonBlocking(fd: number): void {
  const enabled = Buffer.alloc(4);
  enabled.writeInt32LE(1);
  try {
    syscall('set non-blocking', () => raw.ioctl(fd, FIONBIO, enabled));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
