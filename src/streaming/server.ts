import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { abandonOn, KeelsonError, type Logger, messageOf, span } from '../base/index.ts';
import type {
  AttachRequest,
  ExecRequest,
  PortForwardRequest,
  StreamingBackend,
} from './backend.ts';
import { DEFAULT_LIMITS, type StreamingLimits } from './limits.ts';
import { Listener, type ListenOptions } from './listener.ts';
import { type Refusal, refuse, refuseUpgrade } from './refusal.ts';
import {
  type StreamingRequest,
  validateAttach,
  validateExec,
  validatePortForward,
} from './requests.ts';
import { protocolsFor, serveSession, type UpgradedConnection } from './session.ts';
import { TokenTable } from './tokens.ts';
import {
  chooseProtocol,
  isRefusal,
  readOffer,
  spdyUpgradeHead,
  type Transport,
} from './upgrade.ts';

export interface StreamingServerOptions extends Omit<ListenOptions, 'limits'> {
  backend: StreamingBackend;
  logger: Logger;
  limits?: Partial<StreamingLimits>;
}

/** Bytes of a message; clients send 32 KiB at a time. */
const WEBSOCKET_MESSAGE_LIMIT = 1024 * 1024;
/** Milliseconds without traffic before TCP asks whether the client's machine is there. */
const KEEP_ALIVE = 30_000;
/** Milliseconds that sessions which were told to end may take. */
const END_TIME = 5000;
const PATH = /^\/(exec|attach|portforward)\/([A-Za-z0-9_-]{22})(?:\?|$)/;

interface Session {
  readonly control: AbortController;
  readonly done: Promise<void>;
}

/** What a client and the server have agreed on. */
interface Agreement {
  token: string;
  wanted: StreamingRequest;
  transport: Transport;
  protocol: string;
}

/**
 * The HTTP server on which clients exec, attach and forward ports, over SPDY/3.1 or
 * WebSocket. A URL it hands out opens one session, once, soon. Sessions do not survive the
 * server: closing it waits a little, then tells the clients that are left and cuts them off.
 */
export class StreamingServer implements AsyncDisposable {
  readonly #options: StreamingServerOptions;
  readonly #limits: StreamingLimits;
  readonly #listener: Listener;
  readonly #webSockets: WebSocketServer;
  readonly #tokens: TokenTable<StreamingRequest>;
  readonly #sessions = new Set<Session>();
  #closed: Promise<void> | undefined;

  private constructor(
    options: StreamingServerOptions,
    limits: StreamingLimits,
    listener: Listener,
  ) {
    this.#options = options;
    this.#limits = limits;
    this.#listener = listener;
    this.#tokens = new TokenTable(limits.tokens, limits.tokenLifetime);
    this.#webSockets = new WebSocketServer({
      noServer: true,
      maxPayload: WEBSOCKET_MESSAGE_LIMIT,
      perMessageDeflate: false,
      clientTracking: false,
    });
    const { server } = listener;
    server.on('request', (request, response) => this.#onRequest(request, response));
    server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head));
  }

  /** Listens. Fails with UNAVAILABLE if the address cannot be had. */
  static async open(options: StreamingServerOptions): Promise<StreamingServer> {
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const listener = await Listener.open({ ...options, limits });
    return new StreamingServer(options, limits, listener);
  }

  /** Such as `http://127.0.0.1:40123`. */
  get url(): string {
    return this.#listener.url;
  }

  /** The number of sessions under way. */
  get sessions(): number {
    return this.#sessions.size;
  }

  /** Throws INVALID_ARGUMENT, or RESOURCE_EXHAUSTED when too many URLs are unused. */
  execUrl(request: ExecRequest): string {
    validateExec(request);
    return this.#issue({ kind: 'exec', request });
  }

  /** Throws as `execUrl`. */
  attachUrl(request: AttachRequest): string {
    validateAttach(request);
    return this.#issue({ kind: 'attach', request });
  }

  /** Throws as `execUrl`. */
  portForwardUrl(request: PortForwardRequest): string {
    validatePortForward(request);
    return this.#issue({ kind: 'portforward', request });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  #issue(request: StreamingRequest): string {
    if (this.#closed !== undefined) throw shuttingDown();
    return `${this.url}/${request.kind}/${this.#tokens.issue(request)}`;
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const agreed = this.#negotiate(request);
    const notUpgraded = { status: 400, reason: 'This URL is for an upgrade request' };
    refuse(response, isRefusal(agreed) ? agreed : notUpgraded);
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => {});
    const agreed = this.#negotiate(request);
    if (isRefusal(agreed)) {
      refuseUpgrade(socket, agreed);
      return;
    }
    this.#tokens.redeem(agreed.token);
    keepAlive(socket as Socket);
    const { wanted, transport, protocol } = agreed;
    if (transport === 'spdy') {
      socket.write(spdyUpgradeHead(protocol));
      if (head.length > 0) socket.unshift(head);
      this.#begin(wanted, { transport, protocol, stream: socket }, socket);
    } else {
      this.#upgradeToWebSocket(request, { socket, head, protocol }, (webSocket) =>
        this.#begin(wanted, { transport, protocol, socket: webSocket }, socket),
      );
    }
  }

  /** Uses the token up only if it agrees: a client that is refused may try another protocol. */
  #negotiate(request: IncomingMessage): Agreement | Refusal {
    const [, kind, token = ''] = PATH.exec(request.url ?? '') ?? [];
    const wanted = this.#tokens.find(token);
    if (wanted === undefined || wanted.kind !== kind) {
      return { status: 404, reason: 'There is no such session: a URL works once, and soon' };
    }
    const offer = readOffer(request);
    if (isRefusal(offer)) return offer;
    const choice = chooseProtocol(offer, protocolsFor(wanted, offer.transport));
    if (isRefusal(choice)) return choice;
    return { token, wanted, transport: offer.transport, protocol: choice.protocol };
  }

  #upgradeToWebSocket(
    request: IncomingMessage,
    { socket, head, protocol }: { socket: Duplex; head: Buffer; protocol: string },
    onWebSocket: (socket: WebSocket) => void,
  ): void {
    // The protocol is chosen already; ws would refuse the slash in that of the tunnel.
    delete request.headers['sec-websocket-protocol'];
    const addProtocol = (headers: string[]) => {
      if (protocol !== '') headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
    };
    this.#webSockets.once('headers', addProtocol);
    this.#webSockets.handleUpgrade(request, socket, head, onWebSocket);
    this.#webSockets.off('headers', addProtocol);
  }

  #begin(wanted: StreamingRequest, connection: UpgradedConnection, socket: Duplex): void {
    const control = new AbortController();
    const { backend, logger } = this.#options;
    const about = describe(wanted);
    const log = logger.child({ ...about, protocol: connection.protocol });
    const context = { backend, logger: log, control, limits: this.#limits };
    const done = span(`streaming.${wanted.kind}`, about, () =>
      serveSession(wanted, connection, context),
    ).catch((error) => log.debug({ error }, `session failed: ${messageOf(error)}`));
    const session = { control, done };
    this.#sessions.add(session);
    void done.then(() => {
      socket.destroy();
      this.#sessions.delete(session);
    });
  }

  async #close(): Promise<void> {
    this.#tokens.clear();
    this.#listener.stop();
    if (!(await this.#settledWithin(this.#limits.drain))) {
      for (const { control } of this.#sessions) control.abort(shuttingDown());
      await this.#settledWithin(END_TIME);
    }
    await this.#listener[Symbol.asyncDispose]();
  }

  async #settledWithin(milliseconds: number): Promise<boolean> {
    const all = Promise.all([...this.#sessions].map(({ done }) => done));
    try {
      await abandonOn(AbortSignal.timeout(milliseconds), all);
      return true;
    } catch {
      return false;
    }
  }
}

/** A client whose machine is gone is noticed after a few unanswered probes. */
function keepAlive(socket: Socket): void {
  socket.setTimeout(0);
  socket.setKeepAlive(true, KEEP_ALIVE);
}

function describe(wanted: StreamingRequest): Record<string, string> {
  return wanted.kind === 'portforward'
    ? { sandboxId: wanted.request.sandboxId }
    : { containerId: wanted.request.containerId };
}

function shuttingDown(): KeelsonError {
  return new KeelsonError('UNAVAILABLE', 'Session ended', {
    reason: 'the container runtime is shutting down',
    hint: 'the container itself goes on',
  });
}
