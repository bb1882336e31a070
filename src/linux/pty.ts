import { closeSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { DescriptorStream } from './descriptor-streams.ts';
import { raw, syscall } from './ffi.ts';
import { O, socketCalls } from './socket-calls.ts';

const TIOCSPTLCK = 0x40045431n;
const TIOCGPTN = 0x80045430n;
const TIOCSWINSZ = 0x5414n;
const TCGETS = 0x5401n;
const TCSETS = 0x5402n;
/** Room for struct termios (ioctl_tty(2)); its first fields are four 32-bit words of flags. */
const TERMIOS_SIZE = 64;
/** What cfmakeraw(3) takes away of input, output and local flags, and sets of control flags. */
const RAW = { input: 0x5eb, output: 0x1, local: 0x804b, control: 0x30 };
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

export interface PtyOptions {
  /** Nothing is echoed or translated, no key is a signal. */
  raw?: boolean;
}

/** Makes a pseudo terminal in the current mount namespace's /dev/pts. */
export function openPty({ raw: isRaw = false }: PtyOptions = {}): {
  master: Pty;
  slavePath: string;
} {
  const fd = syscall('open pty', () => socketCalls.posixOpenpt(O.RDWR | O.NOCTTY | O.CLOEXEC));
  if (isRaw) makeRaw(fd);
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

/** Closes the master if it fails. */
function makeRaw(master: number): void {
  try {
    const termios = Buffer.alloc(TERMIOS_SIZE);
    syscall('get terminal flags', () => raw.ioctl(master, TCGETS, termios));
    termios.writeUInt32LE((termios.readUInt32LE(0) & ~RAW.input) >>> 0, 0);
    termios.writeUInt32LE((termios.readUInt32LE(4) & ~RAW.output) >>> 0, 4);
    termios.writeUInt32LE((termios.readUInt32LE(8) | RAW.control) >>> 0, 8);
    termios.writeUInt32LE((termios.readUInt32LE(12) & ~RAW.local) >>> 0, 12);
    syscall('set terminal flags', () => raw.ioctl(master, TCSETS, termios));
  } catch (error) {
    closeSync(master);
    throw error;
  }
}
