import { span } from '../../base/index.ts';
import type {
  ControllerService,
  GroupControllerService,
  IdentityService,
  NodeService,
  SnapshotMetadataService,
} from '../../gen/csi/v1/csi.ts';
import { checkAnswer } from './answers.ts';
import { type RequestOf, type ResponseOf, rpcOf, SERVICES } from './services.ts';
import { type CallOptions, SocketClient, type UnaryMethod } from './socket-client.ts';

/** Milliseconds that kubelet grants a call. */
export const CALL_TIMEOUT = 120_000;

type Method = UnaryMethod<never, unknown> & { readonly responseStream: boolean };

/** The calls of a service as functions. Streamed answers are iterated. */
export type Calls<S> = {
  readonly [N in keyof S]: S[N] extends { responseStream: true }
    ? (request: RequestOf<S[N]>, options?: CallOptions) => AsyncGenerator<ResponseOf<S[N]>>
    : (request: RequestOf<S[N]>, options?: CallOptions) => Promise<ResponseOf<S[N]>>;
};

export interface CsiClientOptions {
  /** Milliseconds that a call may take unless it says otherwise. Default 2 minutes. */
  timeout?: number;
  /** Name of the driver, for spans. Default: the path of the socket. */
  driver?: string;
}

/**
 * A client of one CSI driver (CSI specification 1.12). Requests are built with `fromPartial`
 * of their message:
 *
 *     using driver = new CsiClient('unix:///run/csi/csi.sock');
 *     await driver.node.nodeGetInfo({}, { signal });
 *
 * Each call is a span. Failures are CsiErrors: `outcomeOf` and `retryOf` tell what they
 * mean to a reconciler. An answer without a field that the specification requires fails,
 * too, with an outcome that is not known. At most one call per volume at a time is the
 * caller's duty.
 */
export class CsiClient implements Disposable {
  readonly path: string;
  readonly identity: Calls<typeof IdentityService>;
  readonly controller: Calls<typeof ControllerService>;
  readonly groupController: Calls<typeof GroupControllerService>;
  readonly node: Calls<typeof NodeService>;
  readonly snapshotMetadata: Calls<typeof SnapshotMetadataService>;
  readonly #socket: SocketClient;

  constructor(endpoint: string, options: CsiClientOptions = {}) {
    this.#socket = new SocketClient(endpoint, options.timeout ?? CALL_TIMEOUT);
    this.path = this.#socket.path;
    const driver = options.driver ?? this.path;
    this.identity = callsOf(this.#socket, SERVICES.identity, driver);
    this.controller = callsOf(this.#socket, SERVICES.controller, driver);
    this.groupController = callsOf(this.#socket, SERVICES.groupController, driver);
    this.node = callsOf(this.#socket, SERVICES.node, driver);
    this.snapshotMetadata = callsOf(this.#socket, SERVICES.snapshotMetadata, driver);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

/** The calls of any service on a socket, such as plugin registration. */
export function callsOf<S extends object>(
  socket: SocketClient,
  service: S,
  driver: string,
): Calls<S> {
  const calls = Object.entries(service).map(([name, method]: [string, Method]) => [
    name,
    (request: object, options: CallOptions = {}) =>
      call(socket, method, { request, options, driver }),
  ]);
  return Object.fromEntries(calls) as Calls<S>;
}

interface OneCall {
  request: object;
  options: CallOptions;
  driver: string;
}

function call(socket: SocketClient, method: Method, { request, options, driver }: OneCall) {
  const rpc = rpcOf(method);
  const subject = subjectOf(request);
  const about = subject === '' ? '' : ` of "${subject}"`;
  const action = `Driver "${driver}" cannot do ${rpc}${about}`;
  const typed = method as unknown as UnaryMethod<object, object>;
  if (method.responseStream) return socket.stream(typed, request, action, options);
  return span(`csi.${rpc}`, { driver, ...(subject === '' ? {} : { subject }) }, async () => {
    const answer = await socket.unary(typed, request, action, options);
    checkAnswer(rpc, answer, action);
    return answer;
  });
}

/** The volume, snapshot or name that a request is about. */
function subjectOf(request: object): string {
  const { volumeId, snapshotId, name, groupSnapshotId } = request as Record<string, unknown>;
  const found = [volumeId, snapshotId, groupSnapshotId, name].find(
    (each) => typeof each === 'string' && each !== '',
  );
  return typeof found === 'string' ? found.slice(0, 256) : '';
}
