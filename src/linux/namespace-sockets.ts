import { once } from 'node:events';
import { isIPv6, Socket } from 'node:net';
import { during, errnoOf } from '../base/index.ts';
import { raw, syscall } from './ffi.ts';
import { insideNamespace } from './namespaces.ts';
import { AF, SOCK } from './socket-calls.ts';

export interface ConnectRequest {
  /** An IP address. */
  host: string;
  port: number;
}

/**
 * Connects by TCP from inside the network namespace at `path`. A socket belongs for good to
 * the namespace it was made in, so only making it happens there. The stream says `connect`
 * or `error` like one of `net.connect`, and allows half-close.
 */
export function connectInNamespace(path: string, request: ConnectRequest): Socket {
  const family = isIPv6(request.host) ? AF.INET6 : AF.INET;
  const type = SOCK.STREAM | SOCK.CLOEXEC | SOCK.NONBLOCK;
  const fd = insideNamespace('net', path, () =>
    syscall('socket', () => raw.socket(family, type, 0)),
  );
  const options = { fd, allowHalfOpen: true, manualStart: true };
  return new Socket(options).connect(request.port, request.host);
}

/**
 * Connects to `port` of the loopback interface, by IPv4 or else IPv6, in the network
 * namespace at `path`, or in the host's when there is none.
 */
export async function connectLoopback(
  path: string | undefined,
  port: number,
  signal: AbortSignal,
): Promise<Socket> {
  try {
    return await connected(open(path, { host: '127.0.0.1', port }), signal);
  } catch (first) {
    signal.throwIfAborted();
    return await connected(open(path, { host: '::1', port }), signal).catch(() => {
      signal.throwIfAborted();
      throw during(`Cannot connect to port ${port}`, first, hintFor(first));
    });
  }
}

function open(path: string | undefined, request: ConnectRequest): Socket {
  if (path !== undefined) return connectInNamespace(path, request);
  return new Socket({ allowHalfOpen: true }).connect(request.port, request.host);
}

async function connected(socket: Socket, signal: AbortSignal): Promise<Socket> {
  try {
    await once(socket, 'connect', { signal });
    // Whoever is forwarded has decided already what goes into one packet.
    return socket.setNoDelay();
  } catch (error) {
    socket.on('error', () => {});
    socket.destroy();
    throw error;
  }
}

function hintFor(error: unknown): string | undefined {
  return errnoOf(error) === 'ECONNREFUSED' ? 'nothing in the pod listens there' : undefined;
}
