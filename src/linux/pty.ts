import { closeSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { DescriptorStream } from './descriptor-streams.ts';
import { raw, syscall } from './ffi.ts';
import { O, socketCalls } from './socket-calls.ts';

const TIOCSPTLCK = 0x40045431n;
const TIOCGPTN = 0x80045430n;
const TIOCSWINSZ = 0x5414n;
const TIOCGWINSZ = 0x5413n;

export interface TerminalSize {
  /** Columns. */
  width: number;
  /** Rows. */
  height: number;
}

/**
 * The master side of a pseudo terminal (pty(7)). `stream` yields what the programs write
 * and takes what is typed; it ends when the last program has closed its side.
 */
export class Pty implements Disposable {
  readonly stream: Duplex;
  readonly #descriptor: DescriptorStream;

  /** Takes over the descriptor of a master. */
  constructor(master: number) {
    this.#descriptor = new DescriptorStream(master, { halfClose: false });
    this.stream = this.#descriptor;
  }

  /** Sets the size; the programs get SIGWINCH if it changed. Does nothing once closed. */
  resize(size: TerminalSize): void {
    const argument = Buffer.alloc(8);
    argument.writeUInt16LE(size.height, 0);
    argument.writeUInt16LE(size.width, 2);
    this.#descriptor.withDescriptor((fd) =>
      syscall('resize pty', () => raw.ioctl(fd, TIOCSWINSZ, argument)),
    );
  }

  /** The size, undefined once closed. */
  size(): TerminalSize | undefined {
    return this.#descriptor.withDescriptor((fd) => {
      const argument = Buffer.alloc(8);
      syscall('get pty size', () => raw.ioctl(fd, TIOCGWINSZ, argument));
      return { width: argument.readUInt16LE(2), height: argument.readUInt16LE(0) };
    });
  }

  /** Closes the master: the programs get SIGHUP. */
  [Symbol.dispose](): void {
    this.#descriptor.destroy();
  }
}

/** Makes a pseudo terminal in the current mount namespace's /dev/pts. */
export function openPty(): { master: Pty; slavePath: string } {
  const fd = syscall('open pty', () => socketCalls.posixOpenpt(O.RDWR | O.NOCTTY | O.CLOEXEC));
  return { slavePath: unlockSlave(fd), master: new Pty(fd) };
}

function unlockSlave(master: number): string {
  try {
    const argument = Buffer.alloc(4);
    syscall('unlock pty', () => raw.ioctl(master, TIOCSPTLCK, argument));
    syscall('get pty number', () => raw.ioctl(master, TIOCGPTN, argument));
    return `/dev/pts/${argument.readInt32LE()}`;
  } catch (error) {
    closeSync(master);
    throw error;
  }
}
