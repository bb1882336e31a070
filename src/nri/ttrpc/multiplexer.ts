import type { Socket } from 'node:net';
import { KeelsonError } from '../../base/index.ts';
import { FrameReader, TRUNK_FORMAT } from './frames.ts';

/**
 * Bytes of a first frame. Peers written in Go read through a buffer of this size, and take
 * a frame only whole: it must fit, and what follows must be one frame.
 */
const FIRST_FRAME = 4096;

/** Most bytes that wait for a peer that does not read. Two of the largest messages fit. */
const BACKLOG_LIMIT = 10 << 20;

/**
 * Several connections over one socket, told apart by number. Opening one sends nothing:
 * both ends know the numbers.
 */
export class Multiplexer {
  readonly #socket: Socket;
  readonly #receivers = new Map<number, (bytes: Buffer) => void>();

  /** `onClose` is called once, when the socket has closed or sent what nobody can read. */
  constructor(socket: Socket, onClose: (reason: Error) => void) {
    this.#socket = socket;
    const reader = new FrameReader(TRUNK_FORMAT, (header, payload) =>
      this.#receivers.get(header.readUInt32BE(0))?.(payload),
    );
    let failure: Error | undefined;
    socket.on('data', (chunk: Buffer) => {
      if (failure !== undefined) return;
      try {
        reader.push(chunk);
      } catch (error) {
        failure = error as Error;
        socket.destroy();
      }
    });
    socket.on('error', (error) => {
      failure ??= error;
    });
    // Half a connection is of no use: no answer can come.
    socket.on('end', () => socket.destroy());
    socket.on('close', () => onClose(failure ?? closedByPeer()));
  }

  /** Takes what comes for a connection, and answers a function that sends on it. */
  open(id: number, receive: (bytes: Buffer) => void): (message: Buffer) => void {
    this.#receivers.set(id, receive);
    return (message) => {
      this.#send(id, message.subarray(0, FIRST_FRAME));
      if (message.length > FIRST_FRAME) this.#send(id, message.subarray(FIRST_FRAME));
    };
  }

  close(): void {
    this.#socket.destroy();
  }

  #send(id: number, payload: Buffer): void {
    if (this.#socket.destroyed) return;
    const header = Buffer.alloc(TRUNK_FORMAT.headerLength);
    header.writeUInt32BE(id, 0);
    header.writeUInt32BE(payload.length, TRUNK_FORMAT.lengthAt);
    this.#socket.write(header);
    this.#socket.write(payload);
    if (this.#socket.writableLength > BACKLOG_LIMIT) {
      const reason = `${this.#socket.writableLength} bytes wait for it`;
      const error = new KeelsonError('RESOURCE_EXHAUSTED', 'The peer does not read', { reason });
      this.#socket.destroy(error);
    }
  }
}

function closedByPeer(): KeelsonError {
  return new KeelsonError('UNAVAILABLE', 'The connection is closed');
}
