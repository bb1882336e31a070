import type { WebSocket } from 'ws';
import { abandonOn, messageOf } from '../../base/index.ts';
import type { PortForwardRequest } from '../backend.ts';
import type { IdleTimer } from '../idle-timer.ts';
import type { StreamingLimits } from '../limits.ts';
import { type MessageForm, WebSocketChannels } from '../websocket-channels.ts';
import type { ForwardPort } from './spdy-port-forward.ts';

export interface WebSocketPortForwardProtocol {
  form: MessageForm;
  /** Whether either side can close one direction, as in version 5 of the commands. */
  closable: boolean;
}

/**
 * The protocols with two channels for each port; '' when the client names none. Version 5 is
 * Keelson's own for port-forward: Kubernetes tunnels SPDY where it needs half-close.
 */
export const WEBSOCKET_PORT_FORWARD_PROTOCOLS: ReadonlyMap<string, WebSocketPortForwardProtocol> =
  new Map([
    ['v5.channel.k8s.io', { form: 'binary', closable: true }],
    ['v4.channel.k8s.io', { form: 'binary', closable: false }],
    ['v4.base64.channel.k8s.io', { form: 'base64', closable: false }],
    ['', { form: 'binary', closable: false }],
  ]);

/** A channel's number is one byte. */
export const WEBSOCKET_PORT_LIMIT = 127;

export interface WebSocketPortForwardOptions extends WebSocketPortForwardProtocol {
  socket: WebSocket;
  request: PortForwardRequest;
  forward: ForwardPort;
  control: AbortController;
  idle: IdleTimer;
  limits: StreamingLimits;
}

/**
 * Forwards each port that was asked for once: port i of the list has channel 2i for data
 * and 2i + 1 for errors. The first message on each channel is the port, u16 little-endian.
 * The connection closes when all ports are done. Settles when all is over.
 */
export async function serveWebSocketPortForward(
  options: WebSocketPortForwardOptions,
): Promise<void> {
  const { request, control, closable } = options;
  const channels = new WebSocketChannels({
    ...options,
    tellsEnd: closable,
    count: 2 * request.ports.length,
  });
  const forwarded = request.ports.map((port, i) => ({
    port,
    data: channels.channel(2 * i),
    error: channels.channel(2 * i + 1),
  }));
  // Before the forwards end by it themselves, and with them their channels.
  const onAbort = () => {
    const reason = messageOf(control.signal.reason);
    for (const { error } of forwarded) if (!error.writableEnded) error.end(reason);
  };
  control.signal.addEventListener('abort', onAbort, { once: true });
  const running = Promise.all(
    forwarded.map(async ({ port, data, error }) => {
      error.resume();
      // If neither side can close one direction, the end of the pod's ends the client's.
      if (!closable) data.once('finish', () => data.receiveEnd());
      for (const channel of [data, error]) channel.write(littleEndian(port));
      try {
        await options.forward(port, data, control.signal);
      } catch (failure) {
        if (!error.writableEnded) error.write(messageOf(failure));
      }
      data.end();
      error.end();
    }),
  );
  await abandonOn(control.signal, running).catch(() => {});
  control.signal.removeEventListener('abort', onAbort);
  await channels.close();
  control.abort();
  await running;
}

function littleEndian(port: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(port);
  return bytes;
}
