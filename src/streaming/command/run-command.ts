import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { abandonOn } from '../../base/index.ts';
import type { ExitStatus, SessionIo } from '../backend.ts';
import { type CommandVersion, exitReport, failureReport } from './status.ts';
import { readSizes, TerminalSizes } from './terminal-sizes.ts';

/** A client that is connected for a command, whatever the transport. */
export interface CommandConnection {
  readonly version: CommandVersion;
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  readonly resize: Readable | undefined;
  /** Carries how the command ended. */
  readonly error: Writable;
  /** Closes the connection after what was written, and waits for that. */
  close(): Promise<void>;
}

export type RunCommand = (io: SessionIo, signal: AbortSignal) => Promise<ExitStatus | undefined>;

/**
 * Runs a command for a client: copies its output to the end, then reports its exit code or
 * failure, then closes the connection. Settles when both the connection and the command
 * are gone; never rejects because of what the command or the client did.
 *
 * `control` ends the session when aborted; its reason is told to the client.
 */
export async function runCommand(
  connection: CommandConnection,
  run: RunCommand,
  control: AbortController,
): Promise<void> {
  const sizes = new TerminalSizes();
  if (connection.resize !== undefined) readSizes(connection.resize, sizes);
  const { stdin, stdout, stderr } = connection;
  const work = start(() => run({ stdin, stdout, stderr, resizes: sizes }, control.signal));
  const report = await outcome(connection, work, control.signal);
  connection.error.end(report);
  sizes.end();
  await connection.close();
  control.abort();
  await work.catch(() => {});
}

/** What is to be told to the client, when its output is complete or the session aborted. */
async function outcome(
  { version, stdout, stderr }: CommandConnection,
  work: Promise<ExitStatus | undefined>,
  signal: AbortSignal,
): Promise<string> {
  try {
    const result = await abandonOn(
      signal,
      work.then(
        (exit) => exitReport(version, exit),
        (error) => failureReport(version, error),
      ),
    );
    await abandonOn(signal, Promise.all([flushed(stdout), flushed(stderr)]));
    return result;
  } catch (error) {
    return failureReport(version, error);
  }
}

/** Ends an output and waits until the client's connection has taken all of it. */
async function flushed(output: Writable | undefined): Promise<void> {
  if (output === undefined) return;
  output.end();
  // An output that the backend destroyed has nothing more to say.
  await finished(output, { readable: false }).catch(() => {});
}

/** Calls an asynchronous function so that what it throws at once is a rejection, too. */
async function start<T>(work: () => Promise<T>): Promise<T> {
  return await work();
}
