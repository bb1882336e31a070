import type { handleUnaryCall } from '@grpc/grpc-js';
import { span } from '../base/index.ts';
import { answerAttributes, callAttributes } from './call-attributes.ts';
import { type Calls, failureOf, signalOf, traceParent } from './calls.ts';
import type { CriContext, UnaryHandler } from './context.ts';

/** Turns a handler into what grpc-js calls: with a signal, a span, and errors as gRPC statuses. */
export function unary<Request, Response>(
  context: CriContext,
  calls: Calls,
  name: string,
  handler: UnaryHandler<Request, Response>,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const work = span(
      `cri.${name}`,
      callAttributes(context, call.request),
      async (self) => {
        const signal = signalOf(call, calls.signal);
        const response = await handler(context, call.request, { signal });
        self.set(answerAttributes(response));
        return response;
      },
      { remote: traceParent(call.metadata) },
    );
    calls.track(work).then(
      (response) => callback(null, response),
      (error: unknown) => callback(failureOf(context, name, error)),
    );
  };
}
