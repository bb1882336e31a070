import { closeSync, openSync } from 'node:fs';
import { cString, raw, syscall } from '../ffi.ts';

const TUNSETIFF = 0x400454can;
const TUNSETPERSIST = 0x400454cbn;
const TUNSETOWNER = 0x400454ccn;
const TUNSETGROUP = 0x400454cen;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFREQ_SIZE = 40;
const IFNAMSIZ = 16;

export interface TapOptions {
  readonly multiQueue?: boolean;
  /** User and group ids that may open it. */
  readonly owner?: number;
  readonly group?: number;
}

/**
 * Makes a tap device in the network namespace that the thread is in, which stays when
 * nobody has it open (tuntap, linux/if_tun.h). Packets carry virtio headers.
 */
export function createTap(name: string, options: TapOptions = {}): void {
  const fd = openSync('/dev/net/tun', 'r+');
  try {
    const request = Buffer.alloc(IFREQ_SIZE);
    request.write(cString(name), 'latin1');
    const flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (options.multiQueue ? IFF_MULTI_QUEUE : 0);
    request.writeUInt16LE(flags, IFNAMSIZ);
    syscall(`create tap "${name}"`, () => raw.ioctl(fd, TUNSETIFF, request));
    const set = (command: bigint, value: number) =>
      syscall(`configure tap "${name}"`, () => raw.ioctlNumber(fd, command, value));
    if (options.owner !== undefined) set(TUNSETOWNER, options.owner);
    if (options.group !== undefined) set(TUNSETGROUP, options.group);
    set(TUNSETPERSIST, 1);
  } finally {
    closeSync(fd);
  }
}
