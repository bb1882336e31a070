import { createHash } from 'node:crypto';
import { KeelsonError } from '../../base/index.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import type { Connections } from './connections.ts';
import type { Login } from './credentials.ts';
import { type Endpoint, isLoopback } from './endpoint.ts';
import { discard, type RegistryResponse, readBody, send, statusError } from './requests.ts';

interface Token {
  header: string;
  /** When it is renewed, in milliseconds of Date.now(). */
  expiresAt: number;
}

const MAX_TOKEN_ANSWER = 1024 * 1024;
/** Seconds that a token holds when its server does not say (distribution token specification). */
const DEFAULT_LIFETIME = 60;
/** A token is renewed this many milliseconds before its end, or at three quarters of its life. */
const MARGIN = 10_000;
const CLIENT_ID = 'keelson';

/** Tokens of all registries, kept while they hold. Secrets are in memory only. */
export class Tokens {
  readonly #tokens = new Map<string, Token>();

  find(key: string): string | undefined {
    const token = this.#tokens.get(key);
    if (token === undefined) return undefined;
    if (token.expiresAt > Date.now()) return token.header;
    this.#tokens.delete(key);
    return undefined;
  }

  keep(key: string, token: Token): void {
    for (const [other, { expiresAt }] of this.#tokens) {
      if (expiresAt < Date.now()) this.#tokens.delete(other);
    }
    this.#tokens.set(key, token);
  }

  forget(key: string): void {
    this.#tokens.delete(key);
  }
}

/** Proves to one endpoint that a login may read one repository. */
export class Authorization {
  readonly #connections: Connections;
  readonly #tokens: Tokens;
  readonly #endpoint: Endpoint;
  readonly #login: Login;
  readonly #key: string;

  constructor(connections: Connections, tokens: Tokens, endpoint: Endpoint, login: Login) {
    this.#connections = connections;
    this.#tokens = tokens;
    this.#endpoint = endpoint;
    this.#login = login;
    const identity = createHash('sha256').update(JSON.stringify(login)).digest('hex');
    this.#key = `${endpoint.url} ${endpoint.repository} ${identity}`;
  }

  /** The header to try first: a token that is known from before. */
  get header(): string | undefined {
    return this.#tokens.find(this.#key);
  }

  /** Answers a 401: the header for the next try, undefined if nothing more can be offered. */
  async answer(response: RegistryResponse, signal: AbortSignal): Promise<string | undefined> {
    discard(response);
    this.#tokens.forget(this.#key);
    const challenges = parseChallenges(response.headers['www-authenticate']);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    const token =
      bearer === undefined
        ? basicToken(challenges, this.#login)
        : await this.#fetchToken(bearer, signal);
    if (token === undefined) return undefined;
    this.#tokens.keep(this.#key, token);
    return token.header;
  }

  async #fetchToken({ parameters }: Challenge, signal: AbortSignal): Promise<Token> {
    const login = this.#login;
    if (login.kind === 'bearer') return { header: `Bearer ${login.token}`, expiresAt: Infinity };
    const realm = this.#realm(parameters['realm']);
    const scope = parameters['scope'] ?? `repository:${this.#endpoint.repository}:pull`;
    const service = parameters['service'];
    const response =
      login.kind === 'identity'
        ? await this.#exchangeIdentity(realm, { scope, service, token: login.token }, signal)
        : await this.#askForToken(realm, { scope, service }, signal);
    if (response.status !== 200) throw await statusError(response);
    return readToken(await readBody(response, MAX_TOKEN_ANSWER), realm);
  }

  /** The token server. Secrets go over TLS, or to this machine, or where plain HTTP is configured. */
  #realm(text: string | undefined): URL {
    const url = URL.parse(text ?? '');
    const plainAllowed = this.#endpoint.url.startsWith('http:') || this.#endpoint.tls.skipVerify;
    const safe =
      url?.protocol === 'https:' ||
      (url?.protocol === 'http:' && (plainAllowed || isLoopback(url.hostname)));
    if (url !== null && safe) return url;
    throw new KeelsonError('UNAUTHENTICATED', `Cannot log in to "${this.#endpoint.host}"`, {
      reason: `its token server ${JSON.stringify(text ?? '')} is no HTTPS address`,
    });
  }

  #askForToken(
    realm: URL,
    { scope, service }: { scope: string; service: string | undefined },
    signal: AbortSignal,
  ): Promise<RegistryResponse> {
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    for (const part of scope.split(' ')) url.searchParams.append('scope', part);
    const login = this.#login;
    if (login.kind === 'password') url.searchParams.set('account', login.username);
    const headers: Record<string, string> =
      login.kind === 'password' ? { authorization: basicHeader(login) } : {};
    return send(this.#connections, {
      endpoint: this.#endpoint,
      method: 'GET',
      url,
      headers,
      signal,
    });
  }

  #exchangeIdentity(
    url: URL,
    { scope, service, token }: { scope: string; service: string | undefined; token: string },
    signal: AbortSignal,
  ): Promise<RegistryResponse> {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: token,
      client_id: CLIENT_ID,
      scope,
      ...(service === undefined ? {} : { service }),
    });
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const body = form.toString();
    return send(this.#connections, {
      endpoint: this.#endpoint,
      method: 'POST',
      url,
      headers,
      body,
      signal,
    });
  }
}

function basicToken(challenges: readonly Challenge[], login: Login): Token | undefined {
  if (!challenges.some(({ scheme }) => scheme === 'basic') || login.kind !== 'password')
    return undefined;
  return { header: basicHeader(login), expiresAt: Infinity };
}

function basicHeader({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function readToken(body: Buffer, realm: URL): Token {
  try {
    const answer: { token?: unknown; access_token?: unknown; expires_in?: unknown } = JSON.parse(
      body.toString('utf8'),
    );
    const token = answer.token || answer.access_token;
    if (typeof token === 'string' && /^[\x21-\x7e]+$/.test(token)) {
      const lifetime = 1000 * (Number(answer.expires_in) || DEFAULT_LIFETIME);
      const expiresAt = Date.now() + lifetime - Math.min(MARGIN, lifetime / 4);
      return { header: `Bearer ${token}`, expiresAt };
    }
  } catch {
    // The parser's message may quote a secret.
  }
  throw new KeelsonError('UNAUTHENTICATED', `Cannot log in at "${realm.host}"`, {
    reason: 'the token server answered no token',
  });
}
