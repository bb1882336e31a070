import type { IncomingMessage, ServerResponse } from 'node:http';
import { codeOf, type ErrorCode, KeelsonError, type Logger, messageOf } from '../base/index.ts';
import { answerFailure } from './answers.ts';
import type { Endpoint } from './exchange.ts';

/** Milliseconds that a client has to stop sending once it is answered. */
const PATIENCE = 5000;

const EXPECTED: ReadonlySet<ErrorCode> = new Set(['NOT_FOUND', 'INVALID_ARGUMENT', 'CANCELLED']);

export interface DispatchOptions {
  endpoints: readonly Endpoint[];
  /** Whether the server listens on its Unix socket, where only root gets in. */
  isSocket: boolean;
  logger: Logger;
}

/** Finds the endpoint of a request and lets it answer; its failure becomes the answer. */
export async function dispatch(
  options: DispatchOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = URL.parse(request.url ?? '', 'http://admin');
  const gone = new AbortController();
  response.once('close', () => {
    gone.abort(new KeelsonError('CANCELLED', 'The request was given up', clientHasGone));
  });
  try {
    const endpoint = find(options, request, response, url?.pathname ?? '');
    const query = url?.searchParams ?? new URLSearchParams();
    await endpoint?.handle({ query, request, response, signal: gone.signal });
  } catch (error) {
    fail(options.logger, request, response, error);
  }
  if (!request.complete) stopSending(request, response);
}

const clientHasGone = { reason: 'the client has gone' };

function find(
  { endpoints, isSocket }: DispatchOptions,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
): Endpoint | undefined {
  const here = endpoints.filter((endpoint) => endpoint.path === path);
  const found = here.find(({ method }) => method === request.method);
  const action = `Cannot answer ${request.method} "${path}"`;
  if (found === undefined) {
    const choice = here.length > 0 ? here : endpoints;
    const hint = `there are ${choice.map((each) => `${each.method} ${each.path}`).join(', ')}`;
    if (here.length > 0) response.setHeader('Allow', here.map(({ method }) => method).join(', '));
    const error = new KeelsonError('UNIMPLEMENTED', action, { reason: 'no such endpoint', hint });
    answerFailure(response, error, here.length > 0 ? 405 : 404);
    return undefined;
  }
  if (found.socketOnly && !isSocket) {
    throw new KeelsonError('PERMISSION_DENIED', action, {
      reason: 'it is served over a Unix socket only',
      hint: 'leave admin.address at its default',
    });
  }
  return found;
}

function fail(
  logger: Logger,
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
): void {
  const code = codeOf(error);
  const fields = { method: request.method, url: request.url, code, error };
  const message = `cannot answer: ${messageOf(error)}`;
  if (EXPECTED.has(code) || response.destroyed) logger.debug(fields, message);
  else logger.warn(fields, message);
  if (response.headersSent) response.destroy();
  else if (!response.destroyed) answerFailure(response, error);
}

/**
 * The rest of a body that nobody wants is read and dropped for a while, so that the client
 * finds the answer instead of a broken connection.
 */
function stopSending(request: IncomingMessage, response: ServerResponse): void {
  if (response.destroyed) return;
  const timer = setTimeout(() => request.destroy(), PATIENCE);
  request.once('close', () => clearTimeout(timer));
  request.resume();
}
