import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { KeelsonError } from '../../base/index.ts';
import { RuntimeServiceService } from '../../gen/runtime/v1/api.ts';
import type { CriClient } from '../cri-client.ts';
import { RemoteStreams } from './remote-streams.ts';

const DATA = 0;
const ERROR = 1;
/** The first message of each channel repeats the port. */
const PORT_BYTES = 2;

export interface ForwardedConnection {
  podId: string;
  /** The port of the pod. */
  remote: number;
  /** The connection that was made here. Closed in the end. */
  socket: Socket;
}

/**
 * Joins a connection with a port of a pod, by a session of its own. Settles when both are
 * closed; fails when the pod's port cannot be had.
 */
export async function forwardConnection(
  cri: CriClient,
  { podId, remote, socket }: ForwardedConnection,
  signal: AbortSignal,
): Promise<void> {
  socket.on('error', () => {});
  const action = `Cannot forward to port ${remote} of pod "${podId}"`;
  try {
    const { url } = await cri.call(
      RuntimeServiceService.portForward,
      { podSandboxId: podId, port: [remote] },
      { action },
    );
    const error: Buffer[] = [];
    const sinks = new Map([
      [DATA, { stream: afterPort(socket), ends: true }],
      [ERROR, { stream: afterPort(new Collector(error)), ends: true }],
    ]);
    using streams = await RemoteStreams.open(url, { sinks, tls: cri.tls, signal });
    const onClose = () => streams[Symbol.dispose]();
    if (socket.destroyed) onClose();
    socket.once('close', onClose);
    pipeline(socket, streams.writable(DATA), { end: true }).catch(() => {});
    await streams.closed;
    signal.throwIfAborted();
    const reason = Buffer.concat(error).toString('utf8');
    if (reason !== '') throw new KeelsonError('UNAVAILABLE', action, { reason });
  } finally {
    socket.destroySoon();
  }
}

/** Passes on what comes after the port, and the end. */
function afterPort(to: Writable): Writable {
  let skipped = 0;
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      const rest = chunk.subarray(PORT_BYTES - skipped);
      skipped += Math.min(chunk.length, PORT_BYTES - skipped);
      if (rest.length === 0 || to.destroyed || to.writableEnded) done();
      else to.write(rest, () => done());
    },
    final(done) {
      to.end();
      done();
    },
  });
}

class Collector extends Writable {
  readonly #chunks: Buffer[];

  constructor(chunks: Buffer[]) {
    super();
    this.#chunks = chunks;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }
}
