import type { Readable } from 'node:stream';
import { type ErrorCode, errnoOf, KeelsonError, messageOf, sleep, span } from '../../base/index.ts';
import type { Connections } from './connections.ts';
import type { Endpoint } from './endpoint.ts';
import { paced } from './pace.ts';

export interface RegistryRequest {
  endpoint: Endpoint;
  method: 'GET' | 'HEAD' | 'POST';
  url: URL;
  headers: Record<string, string | string[]>;
  body?: string;
  signal: AbortSignal;
}

/** A request below a repository, wherever that is. */
export interface RequestParts {
  method: 'GET' | 'HEAD';
  /** Below the repository: `manifests/latest`. */
  path: string;
  headers: Record<string, string>;
  signal: AbortSignal;
}

export interface RegistryResponse {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Readable;
  /** Milliseconds after which a body that hardly comes is given up. */
  stallTimeout: number;
  /** Where redirects led. */
  url: URL;
}

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const MAX_ERROR_BODY = 64 * 1024;

/**
 * Sends a request and follows redirects, except of POST, whose body may hold a secret. Authorization and the endpoint's own headers go
 * to the endpoint's own origin only; a redirect from TLS to plain HTTP is refused unless
 * the endpoint need not be verified. Fails with UNAVAILABLE if there is no answer.
 */
export async function send(
  connections: Connections,
  request: RegistryRequest,
): Promise<RegistryResponse> {
  let { url } = request;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const response = await exchange(connections, request, url);
    const location = single(response.headers['location']);
    const followed = REDIRECTS.has(response.status) && request.method !== 'POST';
    if (!followed || location === undefined) return response;
    discard(response);
    url = redirected(request.endpoint, url, location);
  }
  throw unavailable(`it redirects more than ${MAX_REDIRECTS} times`);
}

async function exchange(
  connections: Connections,
  request: RegistryRequest,
  url: URL,
): Promise<RegistryResponse> {
  const { endpoint, method, signal, body } = request;
  const own = url.origin === request.url.origin;
  try {
    // Without the query, which may hold a signature.
    const attributes = { host: url.host, path: url.pathname };
    const headers = own ? request.headers : foreignHeaders(request);
    const response = await span(`registry.${method}`, attributes, async (self) => {
      const pool = await connections.for(endpoint, url);
      const answer = await pool.request({
        origin: url.origin,
        path: url.pathname + url.search,
        method,
        headers: { 'user-agent': 'keelson', ...headers },
        signal,
        ...(body === undefined ? {} : { body }),
      });
      self.set({ status: answer.statusCode });
      return answer;
    });
    const { statusCode: status, headers: answered, body: content } = response;
    const { stallTimeout } = connections;
    return { status, headers: answered, body: content, stallTimeout, url };
  } catch (error) {
    signal.throwIfAborted();
    throw connectionError(error);
  }
}

/** What a host may know that is not the endpoint. */
function foreignHeaders({ headers }: RegistryRequest): Record<string, string | string[]> {
  const kept = ['accept', 'accept-encoding', 'range'];
  return Object.fromEntries(Object.entries(headers).filter(([name]) => kept.includes(name)));
}

function redirected(endpoint: Endpoint, from: URL, location: string): URL {
  const url = URL.parse(location, from.href);
  if (url === null || !/^https?:$/.test(url.protocol)) throw unavailable('it redirects to no URL');
  if (from.protocol === 'https:' && url.protocol === 'http:' && !endpoint.tls.skipVerify) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot use registry "${from.host}"`, {
      reason: `it redirects from HTTPS to plain HTTP at "${url.host}"`,
    });
  }
  return url;
}

/** What the time limits of undici mean, by the codes of its errors. */
const TIMEOUTS = new Map([
  ['UND_ERR_BODY_TIMEOUT', 'the transfer stalled'],
  ['UND_ERR_HEADERS_TIMEOUT', 'it does not answer'],
  ['UND_ERR_CONNECT_TIMEOUT', 'connecting takes too long'],
]);

/** How undici says that a proxy does not connect; of requests without a tunnel it says 407 alone. */
const PROXY_REFUSAL = /^Proxy (?:response|Authentication Required) \((\d+)\)/;

/** Errors of the network and of timers: all mean that there was no answer, or no end of it. */
export function connectionError(error: unknown): KeelsonError {
  if (error instanceof KeelsonError) return error;
  const expired = TIMEOUTS.get(errnoOf(error) ?? '');
  if (expired !== undefined) return unavailable(expired, error);
  const refusal = PROXY_REFUSAL.exec(messageOf(error))?.[1];
  if (refusal !== undefined) return unavailable(`the proxy answered ${refusal}`, error);
  return unavailable(describeNetworkError(error), error);
}

function describeNetworkError(error: unknown): string {
  // Of several addresses each has its own failure, and the whole no message.
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(messageOf).join(', ');
  }
  const text = messageOf(error);
  return text === '' ? (errnoOf(error) ?? 'the connection failed') : text;
}

function unavailable(reason: string, cause?: unknown): KeelsonError {
  return new KeelsonError('UNAVAILABLE', 'Cannot reach registry', {
    reason,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** A body in memory, `limit` bytes at most; more fails with OUT_OF_RANGE. */
export async function readBody(response: RegistryResponse, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of paced(response.body, response.stallTimeout)) {
      size += chunk.length;
      if (size > limit) {
        throw new KeelsonError('OUT_OF_RANGE', 'Cannot read from registry', {
          reason: `the answer is larger than ${limit} bytes`,
        });
      }
      chunks.push(chunk);
    }
  } catch (error) {
    throw connectionError(error);
  } finally {
    discard(response);
  }
  return Buffer.concat(chunks);
}

/** Gives a body up that nobody reads. */
export function discard(response: RegistryResponse): void {
  // A body that is not at its end reports the break as an error, for which nobody else listens.
  response.body.on('error', () => {});
  response.body.destroy();
}

export function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

const CODES: Record<number, ErrorCode> = {
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  408: 'UNAVAILABLE',
  429: 'UNAVAILABLE',
};

/** An answer that is no success. `retryAfter` is in milliseconds, from the registry. */
export class StatusError extends KeelsonError {
  readonly status: number;
  readonly retryAfter: number | undefined;

  constructor(
    host: string,
    status: number,
    details: { text: string; retryAfter?: number | undefined },
  ) {
    const code = CODES[status] ?? (status >= 500 ? 'UNAVAILABLE' : 'UNKNOWN');
    super(code, `Registry "${host}" answered ${status}`, {
      ...(details.text === '' ? {} : { reason: details.text }),
    });
    this.status = status;
    this.retryAfter = details.retryAfter;
  }
}

/** Reads the error that an answer carries (distribution-spec, "Error Codes"). */
export async function statusError(response: RegistryResponse): Promise<StatusError> {
  const text = await errorText(response);
  return new StatusError(response.url.host, response.status, {
    text,
    retryAfter: retryAfter(single(response.headers['retry-after'])),
  });
}

async function errorText(response: RegistryResponse): Promise<string> {
  try {
    const body = await readBody(response, MAX_ERROR_BODY);
    const { errors: list }: { errors?: unknown } = JSON.parse(body.toString('utf8'));
    if (!Array.isArray(list)) return '';
    const texts = list.map((item: { code?: unknown; message?: unknown }) =>
      [item.code, item.message].filter((part) => typeof part === 'string').join(' '),
    );
    return printable(texts.join('; '));
  } catch {
    return '';
  }
}

/** A registry's text in one short line without control characters. */
function printable(text: string): string {
  const clean = text.replace(/\p{Cc}+/gu, ' ').trim();
  return clean.length > 300 ? `${clean.slice(0, 300)}…` : clean;
}

/** Seconds, or a date (RFC 9110, section 10.2.3). */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

export interface RetryOptions {
  attempts: number;
  /** Milliseconds before the second attempt; each further wait is twice as long. */
  backOff: number;
  signal: AbortSignal;
}

const MAX_WAIT = 30_000;
const RETRIED = new Set([408, 429, 500, 502, 503, 504]);

/** Codes of certificates that are not accepted. */
const CERTIFICATE_ERROR = /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/;

/** Whether trying again may help: not against what the registry has decided, nor against a certificate. */
export function isPassing(error: unknown): boolean {
  if (error instanceof StatusError) return RETRIED.has(error.status);
  if (!(error instanceof KeelsonError) || error.code !== 'UNAVAILABLE') return false;
  return !CERTIFICATE_ERROR.test(errnoOf(error.cause) ?? '');
}

/** Runs `work` until it succeeds, fails for good, or has failed `attempts` times. */
export async function withRetries<T>(
  options: RetryOptions,
  work: (attempt: number) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt);
    } catch (error) {
      options.signal.throwIfAborted();
      if (attempt >= options.attempts || !isPassing(error)) throw error;
      await waitBefore(attempt, error, options);
    }
  }
}

/** Waits as long as the registry asks for, else ever longer, with jitter so that clients do not come together. */
export async function waitBefore(
  attempt: number,
  error: unknown,
  { backOff, signal }: Pick<RetryOptions, 'backOff' | 'signal'>,
): Promise<void> {
  const asked = error instanceof StatusError ? error.retryAfter : undefined;
  const grown = backOff * 2 ** (attempt - 1) * (0.5 + Math.random());
  await sleep(Math.min(asked ?? grown, MAX_WAIT), signal);
}
