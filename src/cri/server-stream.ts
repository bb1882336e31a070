import { type handleServerStreamingCall, Metadata, type ServerWritableStream } from '@grpc/grpc-js';
import { span } from '../base/index.ts';
import { type Calls, failureOf, signalOf, traceParent } from './calls.ts';
import type { CallInfo, CriContext } from './context.ts';

export interface StreamCallInfo extends CallInfo {
  /** Ends the call with an error though the client does not read. */
  drop(reason: unknown): void;
}

export type StreamHandler<Request, Response> = (
  context: CriContext,
  request: Request,
  call: StreamCallInfo,
) => AsyncIterable<Response>;

/** Turns a handler that yields messages into what grpc-js calls. A slow client slows the handler. */
export function serverStream<Request, Response>(
  context: CriContext,
  calls: Calls,
  name: string,
  handler: StreamHandler<Request, Response>,
): handleServerStreamingCall<Request, Response> {
  return (call) => {
    const dropping = new AbortController();
    const drop = (reason: unknown) => dropping.abort(reason);
    const ends = [signalOf(call, calls.signal), calls.closing, dropping.signal];
    const signal = AbortSignal.any(ends);
    const work = span(
      `cri.${name}`,
      {},
      async () => {
        const messages = handler(context, call.request, { signal, drop })[Symbol.asyncIterator]();
        let next = messages.next();
        // A handler that waits for something has begun to: the client may count on it.
        call.sendMetadata(new Metadata());
        for (let each = await next; !each.done && !signal.aborted; each = await next) {
          if (!call.write(each.value)) await writable(call, signal);
          next = messages.next();
        }
        await messages.return?.();
        dropping.signal.throwIfAborted();
      },
      { remote: traceParent(call.metadata) },
    );
    calls.track(work).then(
      () => call.end(),
      (error: unknown) => call.emit('error', failureOf(context, name, error)),
    );
  };
}

/** Resolves when there is room for more, or the call shall end. */
function writable(
  call: ServerWritableStream<unknown, unknown>,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.on('drain', done);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
