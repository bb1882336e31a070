import { codeOf, KeelsonError, type Logger, messageOf } from '../../base/index.ts';
import {
  type Descriptor,
  digestOf,
  isDigest,
  MANIFEST_ACCEPT,
  parseDigest,
  type Reference,
  verifyDigest,
} from '../spec/index.ts';
import { Authorization, type Tokens } from './authorization.ts';
import { type BlobSink, downloadBlob } from './blob-download.ts';
import type { Connections } from './connections.ts';
import { type CredentialSources, type Credentials, findLogin } from './credentials.ts';
import type { Endpoint } from './endpoint.ts';
import {
  discard,
  type RegistryResponse,
  type RequestParts,
  readBody,
  send,
  single,
  statusError,
  withRetries,
} from './requests.ts';

export interface RepositoryOptions {
  reference: Reference;
  endpoints: readonly Endpoint[];
  credentials: Credentials | undefined;
  sources: CredentialSources;
  connections: Connections;
  tokens: Tokens;
  logger: Logger;
  /** Tries of one request at the last endpoint; mirrors before it get two. */
  attempts: number;
  /** Milliseconds before the second try. */
  backOff: number;
}

/** A manifest or index as a registry serves it. */
export interface ServedManifest {
  mediaType: string | undefined;
  digest: string;
  content: Buffer;
}

/** The largest manifest that registries must take (distribution-spec, "Pushing Manifests"). */
const MAX_MANIFEST = 4 * 1024 * 1024;
const MIRROR_ATTEMPTS = 2;

/** One repository, asked at its endpoints in order until one answers. */
export class Repository {
  readonly #options: RepositoryOptions;
  readonly #authorizations = new Map<Endpoint, Promise<Authorization>>();

  constructor(options: RepositoryOptions) {
    this.#options = options;
  }

  /** The digest that a tag has now, without its manifest; undefined if the registry does not say. */
  async resolve(tag: string, signal: AbortSignal): Promise<string | undefined> {
    return this.#atEndpoints('resolve', signal, async (endpoint, attempts) => {
      const parts = manifestRequest('HEAD', tag, signal);
      const response = await this.#retry(attempts, signal, () => this.request(endpoint, parts));
      discard(response);
      if (response.status === 405) return undefined;
      if (response.status !== 200) throw await statusError(response);
      const digest = single(response.headers['docker-content-digest']);
      return digest !== undefined && isDigest(digest) ? digest : undefined;
    });
  }

  /** Fetches a manifest by tag or digest. What is asked for by digest is verified. */
  async manifest(tagOrDigest: string, signal: AbortSignal): Promise<ServedManifest> {
    const byDigest = isDigest(tagOrDigest);
    return this.#atEndpoints(byDigest ? 'pull' : 'resolve', signal, (endpoint, attempts) =>
      this.#retry(attempts, signal, async () => {
        const parts = manifestRequest('GET', tagOrDigest, signal);
        const response = await this.request(endpoint, parts);
        if (response.status !== 200) throw await statusError(response);
        return readManifest(response, byDigest ? tagOrDigest : undefined);
      }),
    );
  }

  /** Fetches a small blob into memory and verifies it. */
  async smallBlob(descriptor: Descriptor, limit: number, signal: AbortSignal): Promise<Buffer> {
    const { digest, size } = descriptor;
    if (size > limit) {
      throw new KeelsonError('INVALID_ARGUMENT', `Cannot fetch blob "${digest}"`, {
        reason: `it has ${size} bytes, more than the ${limit} that are read`,
      });
    }
    return this.#atEndpoints('pull', signal, (endpoint, attempts) =>
      this.#retry(attempts, signal, async () => {
        const parts: RequestParts = {
          method: 'GET',
          path: `blobs/${digest}`,
          headers: { 'accept-encoding': 'identity' },
          signal,
        };
        const response = await this.request(endpoint, parts);
        if (response.status !== 200) throw await statusError(response);
        const content = await readBody(response, size);
        verifyDigest(content, digest, `blob "${digest}"`);
        return content;
      }),
    );
  }

  /**
   * Downloads a blob from `sink.offset` on, resuming where a transfer broke off. The size
   * is checked, the digest is the caller's to verify. `skip` names endpoints that have
   * served wrong content; those that announce it now are added. Answers the endpoint that
   * served the last of it.
   */
  async blob(
    descriptor: Descriptor,
    sink: BlobSink,
    options: { signal: AbortSignal; skip: Set<Endpoint> },
  ): Promise<Endpoint> {
    const { signal, skip } = options;
    const { backOff, logger } = this.#options;
    return this.#atEndpoints(
      'pull',
      signal,
      async (endpoint, attempts) => {
        const open = (parts: RequestParts) => this.request(endpoint, parts);
        try {
          await downloadBlob({ open, descriptor, sink, attempts, backOff, signal, logger });
        } catch (error) {
          if (codeOf(error) === 'DATA_LOSS') skip.add(endpoint);
          throw error;
        }
        return endpoint;
      },
      skip,
    );
  }

  /** Sends one request to one endpoint, proving who asks when it wants to know. */
  async request(endpoint: Endpoint, parts: RequestParts): Promise<RegistryResponse> {
    const { connections } = this.#options;
    const authorization = await this.#authorize(endpoint, parts.signal);
    const url = new URL(`${endpoint.url}/${endpoint.repository}/${parts.path}`);
    if (endpoint.namespace !== undefined) url.searchParams.set('ns', endpoint.namespace);
    const { method, signal } = parts;
    const ask = (header: string | undefined) => {
      const headers = {
        ...endpoint.headers,
        ...parts.headers,
        ...(header === undefined ? {} : { authorization: header }),
      };
      return send(connections, { endpoint, method, url, headers, signal });
    };
    const known = authorization.header;
    const response = await ask(known);
    if (response.status !== 401) return response;
    const header = await authorization.answer(response, signal);
    if (header === undefined) throw notLoggedIn(endpoint);
    const second = await ask(header);
    if (second.status !== 401) return second;
    discard(second);
    throw notLoggedIn(endpoint);
  }

  #authorize(endpoint: Endpoint, signal: AbortSignal): Promise<Authorization> {
    const { connections, tokens, credentials, sources } = this.#options;
    const known = this.#authorizations.get(endpoint);
    if (known !== undefined) return known;
    const made = findLogin(endpoint, credentials, sources, signal).then(
      (login) => new Authorization(connections, tokens, endpoint, login),
    );
    this.#authorizations.set(endpoint, made);
    made.catch(() => this.#authorizations.delete(endpoint));
    return made;
  }

  #retry<T>(attempts: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return withRetries({ attempts, backOff: this.#options.backOff, signal }, work);
  }

  async #atEndpoints<T>(
    need: 'resolve' | 'pull',
    signal: AbortSignal,
    work: (endpoint: Endpoint, attempts: number) => Promise<T>,
    skip: ReadonlySet<Endpoint> = new Set(),
  ): Promise<T> {
    const fitting = this.#options.endpoints.filter(
      (endpoint) =>
        (need === 'resolve' ? endpoint.canResolve : endpoint.canPull) && !skip.has(endpoint),
    );
    const failures: { endpoint: Endpoint; error: unknown }[] = [];
    for (const [index, endpoint] of fitting.entries()) {
      const isLast = index === fitting.length - 1;
      try {
        return await work(endpoint, isLast ? this.#options.attempts : MIRROR_ATTEMPTS);
      } catch (error) {
        signal.throwIfAborted();
        if (codeOf(error) === 'RESOURCE_EXHAUSTED' || codeOf(error) === 'CANCELLED') throw error;
        failures.push({ endpoint, error });
        if (!isLast) this.#note(endpoint, error);
      }
    }
    throw allFailed(need, failures);
  }

  #note(endpoint: Endpoint, error: unknown): void {
    this.#options.logger.warn(
      { endpoint: endpoint.url, repository: endpoint.repository, error },
      `"${endpoint.url}" does not serve "${endpoint.repository}": ${messageOf(error)}; trying the next`,
    );
  }
}

function manifestRequest(
  method: 'GET' | 'HEAD',
  tagOrDigest: string,
  signal: AbortSignal,
): RequestParts {
  const headers = { accept: `${MANIFEST_ACCEPT}, */*;q=0.1` };
  return { method, path: `manifests/${tagOrDigest}`, headers, signal };
}

async function readManifest(
  response: RegistryResponse,
  expected: string | undefined,
): Promise<ServedManifest> {
  const content = await readBody(response, MAX_MANIFEST);
  const stated = single(response.headers['docker-content-digest']);
  const digest =
    expected ?? (stated !== undefined && isDigest(stated) ? stated : digestOf(content));
  verifyDigest(content, digest, `the manifest from "${response.url.host}"`);
  const mediaType = single(response.headers['content-type'])?.split(';')[0]?.trim();
  return {
    mediaType,
    digest: `${parseDigest(digest).algorithm}:${parseDigest(digest).hex}`,
    content,
  };
}

function notLoggedIn(endpoint: Endpoint): KeelsonError {
  return new KeelsonError('UNAUTHENTICATED', `Cannot log in to registry "${endpoint.host}"`, {
    reason: 'it wants credentials that it was not given, or refuses those it was given',
  });
}

/** The failure of the last endpoint, which is the registry itself, with the others named. */
function allFailed(need: string, failures: { endpoint: Endpoint; error: unknown }[]): unknown {
  const last = failures.at(-1);
  if (last === undefined) {
    return new KeelsonError('FAILED_PRECONDITION', 'Cannot ask any registry', {
      reason: `no endpoint is configured that may ${need}`,
    });
  }
  const before = failures.slice(0, -1);
  if (before.length === 0) return last.error;
  const others = before.map(({ endpoint, error }) => `"${endpoint.url}": ${messageOf(error)}`);
  return new KeelsonError(codeOf(last.error), messageOf(last.error), {
    reason: `before that ${others.join('; ')}`,
    cause: last.error,
  });
}
