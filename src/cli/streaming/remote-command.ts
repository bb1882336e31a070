import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { KeelsonError } from '../../base/index.ts';
import type { CriClient } from '../cri-client.ts';
import { RemoteStreams } from './remote-streams.ts';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;
/** Characters of a report that are read. */
const REPORT_LIMIT = 64 * 1024;

export interface TerminalSize {
  /** Columns. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
}

/** This side's streams of a remote command. Outputs are left open. */
export interface RemoteIo {
  readonly stdin: NodeJS.ReadableStream | undefined;
  readonly stdout: Writable;
  /** Undefined with a terminal, which has one output only. */
  readonly stderr: Writable | undefined;
  /** Called with what takes new sizes of the terminal, once the session is open. */
  readonly onOpen?: (resize: (size: TerminalSize) => void) => void;
  /** Called when the input has ended, but the daemon cannot be told. */
  readonly onUntoldEnd?: () => void;
}

/** What the error channel says in the end (metav1.Status of Kubernetes). */
interface Report {
  status?: string;
  message?: string;
  details?: { causes?: { reason?: string; message?: string }[] };
}

/**
 * Joins this side's streams to those of the session behind a URL, and answers the command's
 * exit code when it has ended. Fails when the session ends without one. Aborting leaves,
 * which ends a command that was started for the session.
 */
export async function remoteCommand(
  cri: CriClient,
  { url, action }: { url: string; action: string },
  io: RemoteIo,
  signal: AbortSignal,
): Promise<number> {
  const report = new Text();
  const sinks = new Map([
    [ERROR, { stream: report, ends: false }],
    [STDOUT, { stream: io.stdout, ends: false }],
    ...(io.stderr === undefined ? [] : [[STDERR, { stream: io.stderr, ends: false }] as const]),
  ]);
  using remote = await RemoteStreams.open(url, { sinks, tls: cri.tls, signal });
  const over = new AbortController();
  const fed = feed(remote, io, over.signal);
  const resizes = remote.writable(RESIZE);
  io.onOpen?.(({ width, height }) => {
    resizes.write(`${JSON.stringify({ Width: width, Height: height })}\n`);
  });
  await remote.closed;
  over.abort();
  await fed;
  signal.throwIfAborted();
  return exitCodeIn(report.text, action);
}

/** Never fails: the command's end decides. */
async function feed(remote: RemoteStreams, io: RemoteIo, over: AbortSignal): Promise<void> {
  if (io.stdin === undefined) return;
  try {
    await pipeline(io.stdin, remote.writable(STDIN), { signal: over });
    if (!remote.canEnd) io.onUntoldEnd?.();
  } catch {
    // The session is over, or the command takes no more.
  }
}

function exitCodeIn(text: string, action: string): number {
  let report: Report = {};
  try {
    report = JSON.parse(text) as Report;
  } catch {
    throw new KeelsonError('UNAVAILABLE', action, {
      reason: text === '' ? 'the session ended without a result' : text,
      ...(text === '' ? { hint: 'the daemon may have ended' } : {}),
    });
  }
  if (report.status === 'Success') return 0;
  const code = report.details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
  if (code !== undefined && /^\d{1,3}$/.test(code)) return Number(code);
  const reason = (report.message ?? 'no reason given').replace(/^Internal error occurred: /, '');
  // The daemon's own messages already say what could not be done.
  if (reason.startsWith('Cannot ')) throw new KeelsonError('UNKNOWN', reason);
  throw new KeelsonError('UNKNOWN', action, { reason });
}

/** Keeps what is written to it. */
class Text extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.text.length < REPORT_LIMIT) this.text += chunk.toString('utf8');
    done();
  }
}
