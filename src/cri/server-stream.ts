import type { handleServerStreamingCall, ServerWritableStream } from '@grpc/grpc-js';
import { span } from '../base/index.ts';
import { type Calls, failureOf, signalOf, traceParent } from './calls.ts';
import type { CallInfo, CriContext } from './context.ts';

export type StreamHandler<Request, Response> = (
  context: CriContext,
  request: Request,
  call: CallInfo,
) => AsyncIterable<Response>;

/** Turns a handler that yields messages into what grpc-js calls. A slow client slows the handler. */
export function serverStream<Request, Response>(
  context: CriContext,
  calls: Calls,
  name: string,
  handler: StreamHandler<Request, Response>,
): handleServerStreamingCall<Request, Response> {
  return (call) => {
    const signal = AbortSignal.any([signalOf(call, calls.signal), calls.closing]);
    const work = span(
      `cri.${name}`,
      {},
      async () => {
        for await (const message of handler(context, call.request, { signal })) {
          if (!call.write(message)) await writable(call, signal);
          if (signal.aborted) return;
        }
      },
      { remote: traceParent(call.metadata) },
    );
    calls.track(work).then(
      () => call.end(),
      (error: unknown) => call.emit('error', failureOf(context, name, error)),
    );
  };
}

function writable(
  call: ServerWritableStream<unknown, unknown>,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    call.once('drain', () => resolve());
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
