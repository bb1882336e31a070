import { closeSync } from 'node:fs';
import { raw, syscall } from './ffi.ts';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 0x80002;
const SIOCSIFFLAGS = 0x8914n;
const IFF_UP = 1;
const IFREQ_SIZE = 40;
const IFNAMSIZ = 16;

/** Sets the loopback interface of the current network namespace up (netdevice(7)). */
export function setLoopbackUp(): void {
  const socket = syscall('socket', () => raw.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
  try {
    const request = Buffer.alloc(IFREQ_SIZE);
    request.write('lo', 'latin1');
    request.writeInt16LE(IFF_UP, IFNAMSIZ);
    syscall('set lo up', () => raw.ioctl(socket, SIOCSIFFLAGS, request));
  } finally {
    closeSync(socket);
  }
}
