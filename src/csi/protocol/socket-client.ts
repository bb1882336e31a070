import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { codeOf, deadlineExceeded, type ErrorCode, messageOf, NEVER } from '../../base/index.ts';
import { CsiError } from './csi-error.ts';
import { redact } from './secrets.ts';
import { socketPath } from './socket-path.ts';

/** Bytes of a message, in either direction. */
const MESSAGE_LIMIT = 16 << 20;

/** Characters kept of what a driver says in an error. */
const LONGEST_MESSAGE = 2048;

/** How soon a socket that nobody answers on is tried again, in milliseconds. */
const RECONNECT = { 'grpc.initial_reconnect_backoff_ms': 50, 'grpc.max_reconnect_backoff_ms': 500 };

export interface CallOptions {
  signal?: AbortSignal;
  /** Milliseconds until the call is given up. */
  timeout?: number;
}

/** A call without streams, as generated service definitions describe it. */
export interface UnaryMethod<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

/**
 * gRPC over a unix socket: connects at the first call, and again when the other side was
 * started anew. Calls fail with a CsiError that holds no secret of their request.
 */
export class SocketClient implements Disposable {
  /** Where the other side listens. */
  readonly path: string;
  /** Milliseconds that a call may take unless it says otherwise. */
  readonly timeout: number;
  readonly #client: Client;

  /** `endpoint`: `unix:///path`, `unix:/path` or the path. */
  constructor(endpoint: string, timeout: number) {
    this.path = socketPath(endpoint);
    this.timeout = timeout;
    this.#client = new Client(`unix:${this.path}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MESSAGE_LIMIT,
      'grpc.max_send_message_length': MESSAGE_LIMIT,
      'grpc.enable_http_proxy': 0,
      'grpc.default_authority': 'localhost',
      // One connection for each client, which ends with it.
      'grpc.use_local_subchannel_pool': 1,
      ...RECONNECT,
    });
  }

  /** `action` begins the message of an error: `Cannot create volume "x"`. */
  async unary<Request extends object, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    action: string,
    options: CallOptions = {},
  ): Promise<Response> {
    // As a stream: the library would wait out the deadline when a second answer comes.
    const answers: Response[] = [];
    for await (const answer of this.stream(method, request, action, options)) {
      answers.push(answer);
      if (answers.length > 1) throw nonsense(action, this.path, 'it answered twice');
    }
    const [answer] = answers;
    if (answer === undefined) throw nonsense(action, this.path, 'it answered nothing');
    return answer;
  }

  /** A call whose answers come one by one; leaving the loop early cancels it. */
  async *stream<Request extends object, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    action: string,
    options: CallOptions = {},
  ): AsyncGenerator<Response, void, undefined> {
    const { signal = NEVER, timeout = this.timeout } = options;
    if (signal.aborted) throw givenUp(action, signal);
    const call = this.#client.makeServerStreamRequest(...callArguments(method, request, timeout));
    const onAbort = () => call.cancel();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for await (const message of call) yield message as Response;
    } catch (error) {
      throw failure(error as ServiceError, request, { action, signal, timeout, path: this.path });
    } finally {
      signal.removeEventListener('abort', onAbort);
      call.cancel();
    }
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

function callArguments<Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Request,
  timeout: number,
) {
  const { path, requestSerialize, responseDeserialize } = method;
  const options = { deadline: Date.now() + timeout };
  return [path, requestSerialize, responseDeserialize, request, new Metadata(), options] as const;
}

interface Circumstances {
  action: string;
  signal: AbortSignal;
  timeout: number;
  path: string;
}

/** Statuses that the gRPC library makes itself when the other side does not keep to the protocol. */
const NONSENSE =
  /^(Response message parsing error|Received RST_STREAM|Received HTTP status|Received message larger|Bandwidth exhausted|Protocol not secure|Received stream end|Unhandled error type|Received unexpected|Failed to decompress|Message is marked as compressed|Unknown|Call ended without)/i;

function failure(
  error: Partial<ServiceError> | null,
  request: object,
  { action, signal, timeout, path }: Circumstances,
): CsiError {
  const code = codeName(error?.code);
  if (signal.aborted && code === 'CANCELLED') return givenUp(action, signal);
  if (code === 'DEADLINE_EXCEEDED' && /^Deadline exceeded/i.test(error?.details ?? '')) {
    const late = deadlineExceeded(action, timeout);
    return new CsiError(code, late.message, false);
  }
  const said = error?.details ?? (error instanceof Error ? error.message : 'no answer');
  const details = printable(redact(said, request));
  if (code === 'UNAVAILABLE' && /connect|ECONN|ENOENT|EACCES|EPIPE/i.test(details)) {
    return new CsiError(code, action, false, { reason: connectionTrouble(details, path) });
  }
  if (code === 'CANCELLED' && details === 'Call cancelled') {
    const reason = `the connection to "${path}" broke`;
    return new CsiError('UNAVAILABLE', action, false, { reason });
  }
  if (NONSENSE.test(details) || error?.code === undefined) return nonsense(action, path, details);
  return new CsiError(code, action, true, { reason: details === '' ? code : details });
}

function nonsense(action: string, path: string, why: string): CsiError {
  const reason = `what answers at "${path}" does not keep to the protocol: ${why}`;
  return new CsiError('INTERNAL', action, false, { reason });
}

function givenUp(action: string, signal: AbortSignal): CsiError {
  const code = codeOf(signal.reason);
  const reason = signal.reason === undefined ? 'given up' : messageOf(signal.reason);
  return new CsiError(code === 'UNKNOWN' ? 'CANCELLED' : code, action, false, { reason });
}

/** What is wrong with a socket, from what the gRPC library says about it. */
function connectionTrouble(details: string, path: string): string {
  if (details.includes('ENOENT')) return `there is no socket "${path}"`;
  if (details.includes('ECONNREFUSED')) return `nobody listens on "${path}"`;
  if (details.includes('EACCES')) return `no permission to connect to "${path}"`;
  const why = details.replace(/^No connection established\. Last error: /, '').trim();
  return `the connection to "${path}" broke: ${why}`;
}

/** A driver's words as one line without control characters, cut to a bearable length. */
function printable(text: string): string {
  const line = text
    .replace(/\s+/g, ' ')
    .replace(/\p{Cc}/gu, '?')
    .trim();
  return line.length > LONGEST_MESSAGE ? `${line.slice(0, LONGEST_MESSAGE)}…` : line;
}

function codeName(code: status | undefined): ErrorCode {
  const name = code === undefined ? undefined : status[code];
  return name === undefined || name === 'OK' ? 'UNKNOWN' : (name as ErrorCode);
}
