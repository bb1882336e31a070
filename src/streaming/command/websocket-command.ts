import type { WebSocket } from 'ws';
import type { CommandStreams } from '../backend.ts';
import type { IdleTimer } from '../idle-timer.ts';
import type { StreamingLimits } from '../limits.ts';
import { type MessageForm, WebSocketChannels } from '../websocket-channels.ts';
import type { CommandConnection } from './run-command.ts';
import type { CommandVersion } from './status.ts';

/** The remote command protocols over WebSocket; '' when the client names none. */
export const WEBSOCKET_COMMAND_PROTOCOLS: ReadonlyMap<
  string,
  { version: CommandVersion; form: MessageForm }
> = new Map([
  ['v5.channel.k8s.io', { version: 5, form: 'binary' }],
  ['v4.channel.k8s.io', { version: 4, form: 'binary' }],
  ['v4.base64.channel.k8s.io', { version: 4, form: 'base64' }],
  ['channel.k8s.io', { version: 1, form: 'binary' }],
  ['base64.channel.k8s.io', { version: 1, form: 'base64' }],
  ['', { version: 1, form: 'binary' }],
]);

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;

export interface WebSocketCommandOptions {
  socket: WebSocket;
  version: CommandVersion;
  form: MessageForm;
  streams: CommandStreams;
  control: AbortController;
  idle: IdleTimer;
  limits: StreamingLimits;
}

/** The streams of a command over WebSocket, all there at once; an empty message says so. */
export function acceptWebSocketCommand(options: WebSocketCommandOptions): CommandConnection {
  const { version, streams } = options;
  const channels = new WebSocketChannels({
    ...options,
    closable: version >= 5,
    count: RESIZE + 1,
  });
  const only = (index: number, wanted: boolean) => {
    if (wanted) return channels.channel(index);
    // What a client sends all the same is not kept.
    channels.channel(index).resume();
    return undefined;
  };
  channels.announce(streams.stdout ? STDOUT : streams.stderr ? STDERR : ERROR);
  for (const output of [STDOUT, STDERR, ERROR]) channels.channel(output).resume();
  return {
    version,
    stdin: only(STDIN, streams.stdin),
    stdout: only(STDOUT, streams.stdout),
    stderr: only(STDERR, streams.stderr),
    resize: only(RESIZE, streams.tty),
    error: channels.channel(ERROR),
    close: () => channels.close(),
  };
}
