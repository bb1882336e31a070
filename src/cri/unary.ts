import { type handleUnaryCall, type ServerUnaryCall, status } from '@grpc/grpc-js';
import { codeOf, type ErrorCode, KeelsonError, messageOf, span } from '../base/index.ts';
import type { CriContext, UnaryHandler } from './context.ts';

/** The calls under way, so that a daemon that shall end can wait for them. */
export class Calls {
  readonly #running = new Set<Promise<unknown>>();
  readonly #abort = new AbortController();

  /** Aborts when the calls must end. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  async track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  /** Waits for the calls under way; after `milliseconds` they are aborted, and undone. */
  async drain(milliseconds: number): Promise<void> {
    const timer = setTimeout(
      () => this.#abort.abort(new KeelsonError('UNAVAILABLE', 'The daemon is shutting down')),
      milliseconds,
    );
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    clearTimeout(timer);
  }
}

/** Turns a handler into what grpc-js calls: with a signal, a span, and errors as gRPC statuses. */
export function unary<Request, Response>(
  context: CriContext,
  calls: Calls,
  name: string,
  handler: UnaryHandler<Request, Response>,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const work = span(`cri.${name}`, {}, async () =>
      handler(context, call.request, { signal: signalOf(call, calls.signal) }),
    );
    calls.track(work).then(
      (response) => callback(null, response),
      (error: unknown) => {
        const code = codeOf(error);
        report(context, name, code, error);
        callback({ code: status[code], details: messageOf(error) });
      },
    );
  };
}

/** Aborts with the client, its deadline, or the daemon. */
function signalOf(call: ServerUnaryCall<unknown, unknown>, shutdown: AbortSignal): AbortSignal {
  const client = new AbortController();
  call.on('cancelled', () => {
    const late = call.getDeadline() !== Number.POSITIVE_INFINITY && Date.now() >= deadlineOf(call);
    client.abort(
      new KeelsonError(late ? 'DEADLINE_EXCEEDED' : 'CANCELLED', 'The call was given up', {
        reason: late ? "the client's deadline is over" : 'the client has gone',
      }),
    );
  });
  return AbortSignal.any([client.signal, shutdown]);
}

function deadlineOf(call: ServerUnaryCall<unknown, unknown>): number {
  const deadline = call.getDeadline();
  return deadline instanceof Date ? deadline.getTime() : deadline;
}

const EXPECTED: ReadonlySet<ErrorCode> = new Set([
  ...(['NOT_FOUND', 'INVALID_ARGUMENT', 'ALREADY_EXISTS', 'CANCELLED'] as const),
]);

function report({ logger }: CriContext, call: string, code: ErrorCode, error: unknown): void {
  const fields = { call, code, error };
  if (EXPECTED.has(code)) logger.debug(fields, `${call} failed: ${messageOf(error)}`);
  else logger.warn(fields, `${call} failed: ${messageOf(error)}`);
}
