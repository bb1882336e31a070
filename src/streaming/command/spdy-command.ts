import type { Duplex } from 'node:stream';
import { abandonOn, KeelsonError } from '../../base/index.ts';
import type { CommandStreams } from '../backend.ts';
import type { IdleTimer } from '../idle-timer.ts';
import type { StreamingLimits } from '../limits.ts';
import type { Headers } from '../spdy/header-block.ts';
import { SpdySession, type SpdyStream } from '../spdy/session.ts';
import type { CommandConnection } from './run-command.ts';
import type { CommandVersion } from './status.ts';

/** The remote command protocols over SPDY; the client's order decides. */
export const SPDY_COMMAND_PROTOCOLS: ReadonlyMap<string, CommandVersion> = new Map([
  ['v4.channel.k8s.io', 4],
  ['v3.channel.k8s.io', 3],
  ['v2.channel.k8s.io', 2],
  ['channel.k8s.io', 1],
]);

type StreamType = 'error' | 'stdin' | 'stdout' | 'stderr' | 'resize';

export interface SpdyCommandOptions {
  transport: Duplex;
  version: CommandVersion;
  streams: CommandStreams;
  control: AbortController;
  idle: IdleTimer;
  limits: StreamingLimits;
}

/**
 * Waits until the client has opened the streams of a command: error, each of stdin, stdout
 * and stderr that was asked for, and resize for a terminal from version 3 on. Rejects when
 * they are not there in time or the session is aborted; the connection is closed then.
 */
export async function acceptSpdyCommand(options: SpdyCommandOptions): Promise<CommandConnection> {
  const { control, limits, version } = options;
  const missing = expectedStreams(options);
  const opened = new Map<string, SpdyStream>();
  const complete = Promise.withResolvers<void>();
  const session = new SpdySession({
    ...options,
    accepts: (headers) => missing.delete(typeOf(headers)),
    onStream: (stream) => {
      opened.set(typeOf(stream.headers), stream);
      if (missing.size === 0) complete.resolve();
    },
    onReset: () => control.abort(new KeelsonError('CANCELLED', 'The client reset a stream')),
  });
  const timer = setTimeout(() => complete.reject(tooLate(missing)), limits.creation).unref();
  try {
    await abandonOn(control.signal, complete.promise);
  } catch (error) {
    await session.close();
    throw error;
  } finally {
    clearTimeout(timer);
  }
  const error = opened.get('error');
  if (error === undefined) throw new KeelsonError('INTERNAL', 'Missing the error stream');
  return {
    version,
    stdin: opened.get('stdin'),
    stdout: opened.get('stdout'),
    stderr: opened.get('stderr'),
    resize: opened.get('resize'),
    error,
    close: () => session.close(),
  };
}

function expectedStreams({ streams, version }: SpdyCommandOptions): Set<string> {
  const types: StreamType[] = ['error'];
  if (streams.stdin) types.push('stdin');
  if (streams.stdout) types.push('stdout');
  if (streams.stderr) types.push('stderr');
  if (streams.tty && version >= 3) types.push('resize');
  return new Set(types);
}

function typeOf(headers: Headers): string {
  return headers.get('streamtype') ?? '';
}

function tooLate(missing: Set<string>): KeelsonError {
  return new KeelsonError('DEADLINE_EXCEEDED', 'Cannot begin the session', {
    reason: `the client did not open its streams (${[...missing].join(', ')}) in time`,
  });
}
