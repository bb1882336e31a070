import type { Duplex } from 'node:stream';
import { createWebSocketStream, type WebSocket } from 'ws';
import { type Logger, messageOf } from '../base/index.ts';
import type { StreamingBackend } from './backend.ts';
import { type CommandConnection, type RunCommand, runCommand } from './command/run-command.ts';
import { acceptSpdyCommand, SPDY_COMMAND_PROTOCOLS } from './command/spdy-command.ts';
import {
  acceptWebSocketCommand,
  WEBSOCKET_COMMAND_PROTOCOLS,
} from './command/websocket-command.ts';
import { IdleTimer } from './idle-timer.ts';
import type { StreamingLimits } from './limits.ts';
import { serveSpdyPortForward } from './port-forward/spdy-port-forward.ts';
import {
  serveWebSocketPortForward,
  WEBSOCKET_PORT_FORWARD_PROTOCOLS,
  WEBSOCKET_PORT_LIMIT,
} from './port-forward/websocket-port-forward.ts';
import type { StreamingRequest } from './requests.ts';
import type { Transport } from './upgrade.ts';

const SPDY_PORT_FORWARD = 'portforward.k8s.io';
/** SPDY inside of binary WebSocket messages. */
const TUNNEL = `SPDY/3.1+${SPDY_PORT_FORWARD}`;

/** The connection after the upgrade. */
export type UpgradedConnection =
  | { transport: 'spdy'; protocol: string; stream: Duplex }
  | { transport: 'websocket'; protocol: string; socket: WebSocket };

export interface SessionContext {
  backend: StreamingBackend;
  limits: StreamingLimits;
  logger: Logger;
  /** Ends the session when aborted. */
  control: AbortController;
}

/** The protocols in which a request can be served. */
export function protocolsFor(request: StreamingRequest, transport: Transport): string[] {
  if (request.kind !== 'portforward') {
    const protocols = transport === 'spdy' ? SPDY_COMMAND_PROTOCOLS : WEBSOCKET_COMMAND_PROTOCOLS;
    return [...protocols.keys()];
  }
  if (transport === 'spdy') return [SPDY_PORT_FORWARD];
  // Two channels for each port: the ports must be known, and not too many.
  const count = request.request.ports.length;
  const isChannelled = count > 0 && count <= WEBSOCKET_PORT_LIMIT;
  return [TUNNEL, ...(isChannelled ? WEBSOCKET_PORT_FORWARD_PROTOCOLS.keys() : [])];
}

/** Serves a request on an upgraded connection; settles when all of it is over. */
export async function serveSession(
  request: StreamingRequest,
  connection: UpgradedConnection,
  context: SessionContext,
): Promise<void> {
  using idle = new IdleTimer(context.limits.idle, context.control);
  if (request.kind === 'portforward') {
    await servePortForward(request.request, connection, { ...context, idle });
    return;
  }
  const client = await acceptCommand(request.request, connection, { ...context, idle });
  await runCommand(client, commandOf(request, context), context.control);
}

function commandOf(
  request: StreamingRequest & { kind: 'exec' | 'attach' },
  { backend, logger }: SessionContext,
): RunCommand {
  const run: RunCommand =
    request.kind === 'exec'
      ? (io, signal) => backend.exec(request.request, io, signal)
      : (io, signal) => backend.attach(request.request, io, signal);
  return async (io, signal) => {
    try {
      return await run(io, signal);
    } catch (error) {
      logger.debug({ error }, `${request.kind} failed: ${messageOf(error)}`);
      throw error;
    }
  };
}

type TimedContext = SessionContext & { idle: IdleTimer };

async function acceptCommand(
  streams: (StreamingRequest & { kind: 'exec' | 'attach' })['request'],
  connection: UpgradedConnection,
  context: TimedContext,
): Promise<CommandConnection> {
  if (connection.transport === 'spdy') {
    const version = SPDY_COMMAND_PROTOCOLS.get(connection.protocol) ?? 4;
    return acceptSpdyCommand({ ...context, transport: connection.stream, version, streams });
  }
  const { version, form } = WEBSOCKET_COMMAND_PROTOCOLS.get(connection.protocol) ?? {
    version: 4,
    form: 'binary',
  };
  return acceptWebSocketCommand({ ...context, socket: connection.socket, version, form, streams });
}

async function servePortForward(
  request: (StreamingRequest & { kind: 'portforward' })['request'],
  connection: UpgradedConnection,
  context: TimedContext,
): Promise<void> {
  const options = {
    ...context,
    request,
    forward: (port: number, stream: Duplex, signal: AbortSignal) =>
      context.backend.portForward(request.sandboxId, port, stream, signal),
  };
  if (connection.transport === 'spdy') {
    await serveSpdyPortForward({ ...options, transport: connection.stream });
  } else if (connection.protocol === TUNNEL) {
    const transport = createWebSocketStream(connection.socket);
    await serveSpdyPortForward({ ...options, transport });
  } else {
    const protocol = WEBSOCKET_PORT_FORWARD_PROTOCOLS.get(connection.protocol) ?? {
      form: 'binary',
      closable: false,
    };
    await serveWebSocketPortForward({ ...options, ...protocol, socket: connection.socket });
  }
}
