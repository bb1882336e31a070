import { type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { during, type ErrorCode, KeelsonError, messageOf } from '../base/index.ts';
import { type AuthConfig, RuntimeServiceService } from '../gen/runtime/v1/api.ts';
import type { CriClient } from './cri-client.ts';
import type { LayerProgress, PullProgressSource } from './pull-progress.ts';

export interface AdminRequest {
  readonly method?: 'GET' | 'POST' | 'PUT';
  /** With its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readable | string;
  readonly signal: AbortSignal;
}

/**
 * Asks the admin server, for what CRI has no call for. Fails with the error that the
 * daemon answers; the body of the answer is the caller's to read.
 */
export async function askAdmin(cri: CriClient, question: AdminRequest): Promise<IncomingMessage> {
  const response = await send(await adminAddress(cri), question);
  const { statusCode = 500 } = response;
  if (statusCode < 300) return response;
  const answer = await text(response);
  // What is still being sent is of no use to anyone.
  response.destroy();
  throw failureOf(answer, statusCode);
}

/** The same, for a JSON document. */
export async function askAdminJson<T>(cri: CriClient, question: AdminRequest): Promise<T> {
  return JSON.parse(await text(await askAdmin(cri, question))) as T;
}

/** Credentials as the admin server takes them: not in the query, which is logged. */
export function authHeader(auth: AuthConfig | undefined): Record<string, string> {
  if (auth === undefined) return {};
  return { 'X-Registry-Auth': Buffer.from(JSON.stringify(auth)).toString('base64') };
}

/** What the admin server says of one pull. */
interface PullProgress {
  reference: string;
  layers: { digest: string; size: number; downloaded: number }[];
}

/** How far pulls are, as the daemon's admin server tells; undefined where there is none. */
export async function adminPullProgress(cri: CriClient): Promise<PullProgressSource | undefined> {
  const address = await adminAddress(cri).catch(() => undefined);
  if (address === undefined) return undefined;
  return {
    async *watch(reference, signal) {
      const answer = await send(address, { path: '/pulls', signal });
      for await (const line of createInterface({ input: answer })) {
        const pulls = JSON.parse(line) as PullProgress[];
        const pull = pulls.find((each) => each.reference === reference);
        if (pull !== undefined) yield pull.layers.map(toLayer);
      }
    },
  };
}

function toLayer({ digest, size, downloaded }: PullProgress['layers'][number]): LayerProgress {
  return { digest, total: size, done: downloaded };
}

/** The daemon names its admin server in its configuration, which verbose Status shows. */
async function adminAddress(cri: CriClient): Promise<string> {
  const { info } = await cri.call(
    RuntimeServiceService.status,
    { verbose: true },
    { action: 'Cannot find the admin server' },
  );
  const config = JSON.parse(info['config'] ?? '{}') as { admin?: { address?: string } };
  const address = config.admin?.address;
  if (address !== undefined) return address;
  throw new KeelsonError('NOT_FOUND', 'The daemon has no admin server');
}

/** Answers as soon as the head of the answer is there, though the body may not be sent yet. */
function send(address: string, question: AdminRequest): Promise<IncomingMessage> {
  const { method = 'GET', path, headers = {}, body, signal } = question;
  const where = address.startsWith('unix://')
    ? { socketPath: address.slice('unix://'.length) }
    : { host: new URL(address).hostname, port: new URL(address).port };
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...where, method, path, headers, signal }, resolve);
    outgoing.on('error', (error) => reject(unreachable(address, error, signal)));
    // What goes wrong with the source is an error of the request, too.
    if (typeof body === 'object') pipeline(body, outgoing).catch(() => {});
    else outgoing.end(body);
  });
}

function unreachable(address: string, error: Error, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  const { code } = error as NodeJS.ErrnoException;
  if (!['ENOENT', 'ECONNREFUSED', 'EACCES'].includes(code ?? '')) {
    return during(`Cannot ask the daemon at ${address}`, error);
  }
  return new KeelsonError('UNAVAILABLE', `Cannot reach the daemon at ${address}`, {
    reason: messageOf(error),
  });
}

function failureOf(answer: string, statusCode: number): KeelsonError {
  try {
    const { code, message } = JSON.parse(answer) as { code: ErrorCode; message: string };
    if (typeof code === 'string' && typeof message === 'string') {
      return new KeelsonError(code, message);
    }
  } catch {
    // Not the daemon's own words.
  }
  return new KeelsonError('UNKNOWN', 'Cannot ask the daemon', {
    reason: `it answered with HTTP status ${statusCode}`,
  });
}
