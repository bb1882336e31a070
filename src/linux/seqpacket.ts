import { closeSync, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import { during, errnoOf, KeelsonError, sleep } from '../base/index.ts';
import { DescriptorStream } from './descriptor-streams.ts';
import { raw, SystemCallError, syscall } from './ffi.ts';
import { AF, SOCK, socketCalls } from './socket-calls.ts';

/** sun_path of unix(7), with its closing NUL. */
const PATH_SIZE = 108;
/** conmon reads at most this much of a packet; what is above would be lost. */
const PACKET_SIZE = 8192;
const RETRY_MILLISECONDS = 10;

/**
 * Connects to a SOCK_SEQPACKET unix socket, such as conmon's attach socket. Each chunk read
 * is one packet; what is written goes out in packets of at most 8 KiB; ending the stream
 * shuts the writing side down.
 */
export async function connectSeqpacket(path: string, signal: AbortSignal): Promise<Duplex> {
  const fd = syscall('socket', () =>
    raw.socket(AF.UNIX, SOCK.SEQPACKET | SOCK.CLOEXEC | SOCK.NONBLOCK, 0),
  );
  try {
    while (!tryConnect(fd, path)) await sleep(RETRY_MILLISECONDS, signal);
  } catch (cause) {
    closeSync(fd);
    throw during(`Cannot connect to "${path}"`, cause);
  }
  return new DescriptorStream(fd, { packets: true, writeSize: PACKET_SIZE });
}

/** Answers false when the listener's backlog is full (EAGAIN). */
function tryConnect(fd: number, path: string): boolean {
  try {
    withShortPath(path, (short) => {
      const address = unixAddress(short);
      syscall('connect', () => socketCalls.connect(fd, address, address.length));
    });
    return true;
  } catch (error) {
    if (error instanceof SystemCallError && errnoOf(error) === 'EAGAIN') return false;
    throw error;
  }
}

/** Calls `work` with a name of the same file that fits into a socket address. */
function withShortPath(path: string, work: (short: string) => void): void {
  if (Buffer.byteLength(path) < PATH_SIZE) {
    work(path);
    return;
  }
  const directory = openSync(dirname(path), 'r');
  try {
    work(`/proc/self/fd/${directory}/${basename(path)}`);
  } finally {
    closeSync(directory);
  }
}

function unixAddress(path: string): Buffer {
  const name = Buffer.from(path);
  if (name.length >= PATH_SIZE || name.length === 0 || name.includes(0)) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot use "${path}" as a socket's path`, {
      reason: 'its last part is too long, empty or holds a NUL byte',
    });
  }
  const address = Buffer.alloc(2 + name.length + 1);
  address.writeUInt16LE(AF.UNIX);
  name.copy(address, 2);
  return address;
}
