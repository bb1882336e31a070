import { readFileSync } from 'node:fs';
import {
  type CallOptions,
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import * as api from '../../src/gen/runtime/v1/api.ts';

export interface CallSettings {
  signal?: AbortSignal;
  /** Milliseconds until the call fails with DEADLINE_EXCEEDED. Default 60 000. */
  timeout?: number;
  /** Sent with the call. */
  metadata?: Readonly<Record<string, string>>;
}

interface Unary<Request, Response> {
  responseStream: false;
  requestSerialize: (value: Request) => Buffer;
  responseDeserialize: (bytes: Buffer) => Response;
}

interface ServerStream<Request, Response> {
  responseStream: true;
  requestSerialize: (value: Request) => Buffer;
  responseDeserialize: (bytes: Buffer) => Response;
}

/** Each RPC of a generated service as a function; fields left out have their zero value. */
type Calls<Service> = {
  readonly [Name in keyof Service]: Service[Name] extends Unary<infer Request, infer Response>
    ? (request?: api.DeepPartial<Request>, settings?: CallSettings) => Promise<Response>
    : Service[Name] extends ServerStream<infer Request, infer Response>
      ? (
          request?: api.DeepPartial<Request>,
          settings?: CallSettings,
        ) => ClientReadableStream<Response>
      : never;
};

export interface CriClient extends Disposable {
  readonly runtime: Calls<typeof api.RuntimeServiceService>;
  readonly images: Calls<typeof api.ImageServiceService>;
  close(): void;
}

export interface ConnectSettings {
  /** The package whose services are called, such as `runtime.v1alpha2`. Default `runtime.v1`. */
  package?: string;
  /** PEM files for mutual TLS. */
  tls?: { ca: string; cert: string; key: string };
}

/** A client of both CRI services at `unix:///path` or `tcp://host:port`. */
export function connect(uri: string, settings: ConnectSettings = {}): CriClient {
  const { tls } = settings;
  const security =
    tls === undefined
      ? credentials.createInsecure()
      : credentials.createSsl(...[tls.ca, tls.key, tls.cert].map((file) => readFileSync(file)));
  const client = new Client(uri.replace(/^tcp:\/\//, ''), security, {
    'grpc.max_receive_message_length': 64 * 1024 * 1024,
    // Without its own pool a client would share the connection of one that was closed.
    'grpc.use_local_subchannel_pool': 1,
    // A daemon that restarts must be seen again at once.
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
    ...(tls === undefined ? {} : { 'grpc.ssl_target_name_override': 'localhost' }),
  });
  const prefix = `/${settings.package ?? 'runtime.v1'}.`;
  return {
    runtime: callsOf(client, api.RuntimeServiceService, prefix),
    images: callsOf(client, api.ImageServiceService, prefix),
    close: () => client.close(),
    [Symbol.dispose]: () => client.close(),
  };
}

function callsOf<Service extends Record<string, unknown>>(
  client: Client,
  service: Service,
  prefix: string,
): Calls<Service> {
  const calls: Record<string, unknown> = {};
  for (const [name, entry] of Object.entries(service)) {
    const definition = entry as MethodDefinition<unknown, unknown>;
    calls[name] = definition.responseStream
      ? streamingCall(client, definition, prefix)
      : unaryCall(client, definition, prefix);
  }
  return calls as Calls<Service>;
}

function unaryCall(client: Client, method: MethodDefinition<unknown, unknown>, prefix: string) {
  const complete = completionOf(method);
  const path = method.path.replace('/runtime.v1.', prefix);
  return (request: object = {}, settings: CallSettings = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const { signal } = settings;
      const call = client.makeUnaryRequest(
        path,
        method.requestSerialize,
        method.responseDeserialize,
        complete(request),
        metadataOf(settings),
        optionsOf(settings),
        (error: ServiceError | null, response?: unknown) => {
          signal?.removeEventListener('abort', onAbort);
          if (error === null) resolve(response);
          else reject(error);
        },
      );
      const onAbort = () => call.cancel();
      if (signal?.aborted) onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
    });
}

function streamingCall(client: Client, method: MethodDefinition<unknown, unknown>, prefix: string) {
  const complete = completionOf(method);
  const path = method.path.replace('/runtime.v1.', prefix);
  return (request: object = {}, settings: CallSettings = {}): ClientReadableStream<unknown> => {
    const call = client.makeServerStreamRequest(
      path,
      method.requestSerialize,
      method.responseDeserialize,
      complete(request),
      metadataOf(settings),
      optionsOf(settings),
    );
    settings.signal?.addEventListener('abort', () => call.cancel(), { once: true });
    return call;
  };
}

function metadataOf(settings: CallSettings): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(settings.metadata ?? {})) metadata.set(name, value);
  return metadata;
}

function optionsOf(settings: CallSettings): Partial<CallOptions> {
  return { deadline: Date.now() + (settings.timeout ?? 60_000) };
}

/** Request messages are named after their RPC, except this one. */
const OTHER_REQUESTS: Record<string, string> = { GetContainerEvents: 'GetEventsRequest' };

function completionOf(method: MethodDefinition<unknown, unknown>): (partial: object) => unknown {
  const rpc = method.path.slice(method.path.lastIndexOf('/') + 1);
  const name = OTHER_REQUESTS[rpc] ?? `${rpc}Request`;
  const message = (api as unknown as Record<string, api.MessageFns<object> | undefined>)[name];
  if (message === undefined) throw new Error(`No message "${name}" was generated`);
  return (partial) => message.fromPartial(partial);
}
