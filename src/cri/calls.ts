import {
  type Metadata,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
  status,
} from '@grpc/grpc-js';
import { codeOf, type ErrorCode, KeelsonError, messageOf } from '../base/index.ts';
import type { CriContext } from './context.ts';

/** The calls under way, so that a daemon that shall end can wait for them. */
export class Calls {
  readonly #running = new Set<Promise<unknown>>();
  readonly #abort = new AbortController();
  readonly #closing = new AbortController();

  /** Aborts when the calls must end. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Aborts when calls that would never end by themselves should. */
  get closing(): AbortSignal {
    return this.#closing.signal;
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
    this.#closing.abort();
    const timer = setTimeout(
      () => this.#abort.abort(new KeelsonError('UNAVAILABLE', 'The daemon is shutting down')),
      milliseconds,
    );
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    clearTimeout(timer);
  }
}

type Call = ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>;

/** Aborts with the client, its deadline, or the daemon. */
export function signalOf(call: Call, shutdown: AbortSignal): AbortSignal {
  const client = new AbortController();
  call.on('cancelled', () => {
    const late = Date.now() >= deadlineOf(call);
    client.abort(
      new KeelsonError(late ? 'DEADLINE_EXCEEDED' : 'CANCELLED', 'The call was given up', {
        reason: late ? "the client's deadline is over" : 'the client has gone',
      }),
    );
  });
  return AbortSignal.any([client.signal, shutdown]);
}

/** The caller's span (https://www.w3.org/TR/trace-context), as kubelets send it. */
export function traceParent(metadata: Metadata): Record<string, string> {
  return Object.fromEntries(
    ['traceparent', 'tracestate', 'baggage'].flatMap((name) => {
      const value = metadata.get(name)[0]?.toString();
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function deadlineOf(call: Call): number {
  const deadline = call.getDeadline();
  return deadline instanceof Date ? deadline.getTime() : deadline;
}

const EXPECTED: ReadonlySet<ErrorCode> = new Set([
  ...(['NOT_FOUND', 'INVALID_ARGUMENT', 'ALREADY_EXISTS', 'CANCELLED'] as const),
]);

/** The gRPC status of an error, which is logged on the way. */
export function failureOf(
  { logger }: CriContext,
  call: string,
  error: unknown,
): Pick<StatusObject, 'code' | 'details'> {
  const code = codeOf(error);
  const fields = { call, code, error };
  const message = `${call} failed: ${messageOf(error)}`;
  if (EXPECTED.has(code)) logger.debug(fields, message);
  else logger.warn(fields, message);
  return { code: status[code], details: messageOf(error) };
}
