import { closeSync } from 'node:fs';
import { errnoOf } from '../base/index.ts';
import { raw, syscall } from './ffi.ts';

const AF_PACKET = 17;
const SOCK_RAW_NONBLOCK_CLOEXEC = 0x80803;
const ETH_P_IP = 0x0800;
const FRAME_SIZE = 65536;

/**
 * Sends and receives whole Ethernet frames that carry IPv4, by one link of the network
 * namespace that the thread is in when it is made (packet(7)). Works without any address.
 */
export class PacketSocket implements Disposable {
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafeSlow(FRAME_SIZE);

  constructor(link: number) {
    const protocol = Buffer.alloc(2);
    protocol.writeUInt16BE(ETH_P_IP);
    this.#fd = syscall('open packet socket', () =>
      raw.socket(AF_PACKET, SOCK_RAW_NONBLOCK_CLOEXEC, protocol.readUInt16LE()),
    );
    const address = Buffer.alloc(20);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16BE(ETH_P_IP, 2);
    address.writeInt32LE(link, 4);
    try {
      syscall('bind packet socket', () => raw.bind(this.#fd, address, address.length));
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  send(frame: Uint8Array): void {
    syscall('send packet', () => raw.send(this.#fd, frame, frame.length, 0));
  }

  /** The next frame that has come, undefined if there is none now. */
  receive(): Buffer | undefined {
    try {
      const size = syscall('receive packet', () =>
        raw.recv(this.#fd, this.#buffer, this.#buffer.length, 0),
      );
      return Buffer.from(this.#buffer.subarray(0, size));
    } catch (error) {
      if (errnoOf(error) === 'EAGAIN') return undefined;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
