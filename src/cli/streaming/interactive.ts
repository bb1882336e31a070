import { Transform } from 'node:stream';
import type { Context } from '../context.ts';
import type { CriClient } from '../cri-client.ts';
import { remoteCommand } from './remote-command.ts';
import { RawTerminal } from './terminal.ts';

export interface InteractiveOptions {
  /** The session, as CRI answered it. */
  url: string;
  /** What the user wanted, such as `Cannot attach to container "x"`. */
  action: string;
  interactive: boolean;
  tty: boolean;
  /** Ctrl-P Ctrl-Q on a terminal leaves the session. */
  detachable?: boolean;
}

const CTRL_P = 0x10;
const CTRL_Q = 0x11;

/**
 * Gives the user's streams, and terminal if there is one, to the session behind a URL. Answers
 * the exit code of the command; undefined when the user detached.
 */
export async function interact(
  context: Context,
  cri: CriClient,
  options: InteractiveOptions,
): Promise<number | undefined> {
  const { interactive, tty } = options;
  const detached = new AbortController();
  using terminal = tty ? new RawTerminal(context, interactive) : undefined;
  const keys = interactive ? context.stdin : undefined;
  const stdin =
    keys !== undefined && tty && options.detachable
      ? keys.pipe(untilDetached(() => detached.abort()))
      : keys;
  try {
    return await remoteCommand(
      cri,
      options,
      {
        stdin,
        stdout: context.stdout,
        stderr: tty ? undefined : context.stderr,
        onOpen: (resize) => terminal?.followSize(resize),
        onUntoldEnd: () =>
          context.stderr.write('keelson: this runtime cannot be told that the input has ended\n'),
      },
      AbortSignal.any([context.signal, detached.signal]),
    );
  } catch (error) {
    if (detached.signal.aborted) return undefined;
    throw error;
  } finally {
    // An open stdin would keep this program from ending.
    terminal?.[Symbol.dispose]();
    if (keys !== undefined && 'destroy' in keys) (keys as unknown as Transform).destroy();
  }
}

/** Passes keys on, but for the two that detach. */
function untilDetached(detach: () => void): Transform {
  let isHeld = false;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const passed: number[] = [];
      for (const key of chunk) {
        if (isHeld && key === CTRL_Q) {
          detach();
          break;
        }
        if (isHeld) passed.push(CTRL_P);
        isHeld = key === CTRL_P;
        if (!isHeld) passed.push(key);
      }
      done(null, Buffer.from(passed));
    },
  });
}
