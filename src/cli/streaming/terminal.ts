import type { Context } from '../context.ts';
import { usageError } from '../failures.ts';
import type { TerminalSize } from './remote-command.ts';

type Keyboard = Context['stdin'] & { setRawMode?(mode: boolean): unknown };
type Screen = Context['stdout'] & { readonly rows?: number };

/** The exit code of a program that ended because its terminal went away. */
const HANGUP = 129;

/**
 * The user's terminal, handed to a program in a container: keys are passed on as they are,
 * also those that would interrupt. Disposing gives it back as it was.
 */
export class RawTerminal implements Disposable {
  readonly #keyboard: Keyboard;
  readonly #screen: Screen;
  readonly #cleanups: (() => void)[] = [];

  /** Fails when keys are wanted and stdin is no terminal. */
  constructor({ stdin, stdout }: Context, keys: boolean) {
    this.#keyboard = stdin;
    this.#screen = stdout;
    if (!keys) return;
    if (!this.#keyboard.isTTY || this.#keyboard.setRawMode === undefined) {
      throw usageError('-i with -t needs a terminal as stdin: leave out -t');
    }
    this.#keyboard.setRawMode(true);
    this.#cleanups.push(() => void this.#keyboard.setRawMode?.(false));
    // Node gives the terminal back when it exits, but does not survive this signal unasked.
    const onHangup = () => process.exit(HANGUP);
    process.on('SIGHUP', onHangup);
    this.#cleanups.push(() => void process.off('SIGHUP', onHangup));
  }

  /** Calls with the size now and whenever it changes. */
  followSize(resize: (size: TerminalSize) => void): void {
    const tell = () => {
      const { columns, rows } = this.#screen;
      if (columns && rows) resize({ width: columns, height: rows });
    };
    tell();
    this.#screen.on('resize', tell);
    this.#cleanups.push(() => void this.#screen.off('resize', tell));
  }

  [Symbol.dispose](): void {
    for (const cleanup of this.#cleanups.splice(0).reverse()) cleanup();
  }
}
