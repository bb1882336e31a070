import { closeSync } from 'node:fs';
import { raw, syscall } from './ffi.ts';
import { AF, SOCK, socketCalls } from './socket-calls.ts';

/**
 * Tells systemd how the service is (sd_notify(3)): `READY=1`, `STOPPING=1`. Does nothing
 * in a process that systemd did not ask to tell.
 */
export function notifySystemd(state: string): void {
  const path = process.env['NOTIFY_SOCKET'];
  if (path === undefined) return;
  // A leading @ stands for the NUL byte of an abstract socket.
  const name = Buffer.from(path.replace(/^@/, '\0'));
  const address = Buffer.alloc(2 + name.length);
  address.writeUInt16LE(AF.UNIX);
  name.copy(address, 2);
  const socket = syscall('socket', () => raw.socket(AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0));
  try {
    syscall(`connect to ${path}`, () => socketCalls.connect(socket, address, address.length));
    const message = Buffer.from(state);
    syscall(`send to ${path}`, () => raw.send(socket, message, message.length, 0));
  } finally {
    closeSync(socket);
  }
}
