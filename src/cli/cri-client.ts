import { readFileSync } from 'node:fs';
import {
  type ChannelCredentials,
  Client,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { type ErrorCode, KeelsonError, NEVER } from '../base/index.ts';

export interface Endpoint {
  /** `unix:///PATH` or `tcp://HOST:PORT`. */
  readonly uri: string;
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string };
}

export interface CriClientOptions {
  readonly runtime: Endpoint;
  /** Where the image service is. */
  readonly image: Endpoint;
  readonly signal: AbortSignal;
  /** How long a call may take, in milliseconds, unless it says otherwise. */
  readonly timeout: number;
}

/** A call without streams, as generated service definitions describe it. */
export interface UnaryMethod<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

export interface CallOptions {
  /** What the user wanted, such as `Cannot stop container "x"`. */
  readonly action: string;
  /** Milliseconds; Infinity for no deadline. */
  readonly timeout?: number;
}

/** Calls the CRI services of one socket, or of one for each service. */
export class CriClient implements Disposable {
  /** Whether the daemon runs on this host, so that its files can be read here. */
  readonly local: boolean;
  readonly timeout: number;
  readonly #options: CriClientOptions;
  readonly #clients: Map<string, Client>;

  constructor(options: CriClientOptions, clients = new Map<string, Client>()) {
    this.#options = options;
    this.#clients = clients;
    this.timeout = options.timeout;
    this.local = options.runtime.uri.startsWith('unix:');
  }

  /** The certificate files for the runtime service and its streaming server. */
  get tls(): Endpoint['tls'] {
    return this.#options.runtime.tls;
  }

  /** Fails with a KeelsonError that has the code of the gRPC status. */
  call<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    const { runtime, image, signal } = this.#options;
    const endpoint = method.path.includes('.ImageService/') ? image : runtime;
    const timeout = options.timeout ?? this.timeout;
    const deadline = Number.isFinite(timeout) ? { deadline: Date.now() + timeout } : {};
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const onAbort = () => call.cancel();
      const call = this.#client(endpoint).makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        new Metadata(),
        deadline,
        (error, response) => {
          signal.removeEventListener('abort', onAbort);
          if (error === null && response !== undefined) resolve(response);
          else reject(failure(error, endpoint.uri, { ...options, timeout }));
        },
      );
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** The same connections, for calls that go on when the user interrupts. */
  uninterrupted(): CriClient {
    return new CriClient({ ...this.#options, signal: NEVER }, this.#clients);
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #client(endpoint: Endpoint): Client {
    const known = this.#clients.get(endpoint.uri);
    if (known !== undefined) return known;
    const client = new Client(addressOf(endpoint.uri), credentialsOf(endpoint), {
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.enable_http_proxy': 0,
    });
    this.#clients.set(endpoint.uri, client);
    return client;
  }
}

function addressOf(uri: string): string {
  return uri.startsWith('tcp://') ? uri.slice('tcp://'.length) : uri;
}

function credentialsOf({ uri, tls }: Endpoint): ChannelCredentials {
  // The daemon's streaming server may want them all the same.
  if (uri.startsWith('unix:')) return credentials.createInsecure();
  if (tls.ca === undefined && tls.cert === undefined && tls.key === undefined) {
    return credentials.createInsecure();
  }
  const read = (path: string | undefined) => (path === undefined ? null : readFileSync(path));
  return credentials.createSsl(read(tls.ca), read(tls.key), read(tls.cert));
}

function failure(
  error: ServiceError | null,
  uri: string,
  options: CallOptions & { timeout: number },
): KeelsonError {
  const code = codeName(error?.code);
  if (code === 'DEADLINE_EXCEEDED') {
    const reason = `no answer within ${options.timeout / 1000} s`;
    return new KeelsonError(code, options.action, { reason });
  }
  const details = error?.details ?? 'the daemon sent no answer';
  if (code === 'UNAVAILABLE' && /connect|ECONN|ENOENT|EACCES|resolution/i.test(details)) {
    return new KeelsonError(code, `Cannot reach the daemon at ${uri}`, {
      reason: connectionTrouble(details),
      hint: 'is "keelson serve" running? --socket names another one',
    });
  }
  // The daemon's own messages already say what could not be done.
  return details.startsWith('Cannot ')
    ? new KeelsonError(code, details)
    : new KeelsonError(code, options.action, { reason: details });
}

/** What is wrong with a socket, from what the gRPC library says about it. */
function connectionTrouble(details: string): string {
  if (details.includes('ENOENT')) return 'there is no such socket';
  if (details.includes('ECONNREFUSED')) return 'nobody listens there';
  if (details.includes('EACCES')) return 'permission denied: only root may connect';
  return details.replace(/^No connection established\. Last error: /, '').trim();
}

function codeName(code: status | undefined): ErrorCode {
  const name = code === undefined ? undefined : status[code];
  return name === undefined || name === 'OK' ? 'UNKNOWN' : (name as ErrorCode);
}
