import { KeelsonError, readTextIfExists } from '../../base/index.ts';
import { run } from '../../linux/index.ts';
import type { Endpoint } from './endpoint.ts';
import { AUTH_FILES } from './registries-conf.ts';

/** How to prove who asks, in the fields of CRI's AuthConfig. */
export interface Credentials {
  username?: string;
  password?: string;
  /** `user:password` in base64. */
  auth?: string;
  /** The registry that these are for; empty: that of the image. */
  serverAddress?: string;
  /** A refresh token of the registry's token service. */
  identityToken?: string;
  /** A bearer token to be sent as it is. */
  registryToken?: string;
}

/** Credentials in the form in which they are used, and where they came from. */
export type Login =
  | { kind: 'anonymous'; source: string }
  | { kind: 'password'; username: string; password: string; source: string }
  | { kind: 'identity'; token: string; source: string }
  | { kind: 'bearer'; token: string; source: string };

const ANONYMOUS: Login = { kind: 'anonymous', source: 'no credentials configured' };
const HUB_KEYS = [
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
  'registry.hub.docker.com',
];
const HELPER_TIMEOUT = 30_000;

/** Where credentials that no request brings are looked for. */
export interface CredentialSources {
  /** Docker's or containers' files, the first that knows a repository first. */
  authFiles: readonly string[];
  /** In which order: AUTH_FILES stands for the files, other words for helpers. */
  helpers: readonly string[];
}

/**
 * The login for an endpoint: the request's credentials, if they are meant for it, else
 * what the first of the other sources says that knows the repository. Credentials of
 * a request go to the image's own registry only, not to mirrors, unless their server
 * address names the mirror.
 */
export async function findLogin(
  endpoint: Endpoint,
  given: Credentials | undefined,
  { authFiles, helpers }: CredentialSources,
  signal: AbortSignal,
): Promise<Login> {
  const login = given === undefined ? undefined : loginOf(given, 'the request');
  if (login !== undefined && given !== undefined && isMeantFor(given, endpoint)) return login;
  for (const helper of helpers) {
    const found =
      helper === AUTH_FILES
        ? await fromAuthFiles(authFiles, endpoint, signal)
        : await askHelper(helper, endpoint.host, 'registries.conf', signal);
    if (found !== undefined) return found;
  }
  return ANONYMOUS;
}

async function fromAuthFiles(
  files: readonly string[],
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<Login | undefined> {
  for (const file of files) {
    const found = await fromAuthFile(file, endpoint, signal);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isMeantFor({ serverAddress }: Credentials, endpoint: Endpoint): boolean {
  if (!serverAddress) return !endpoint.isMirror;
  return hostOf(serverAddress) === hostOf(endpoint.host);
}

/** The host of `https://host:port/path`, with one name for Docker Hub's several. */
function hostOf(address: string): string {
  const host = address
    .replace(/^https?:\/\//, '')
    .replace(/\/.*$/, '')
    .toLowerCase();
  return HUB_KEYS.includes(host) ? 'docker.io' : host;
}

function loginOf(given: Credentials, source: string): Login | undefined {
  const { username, password, auth, identityToken, registryToken } = given;
  if (identityToken) return { kind: 'identity', token: identityToken, source };
  if (registryToken) return { kind: 'bearer', token: registryToken, source };
  if (username) return { kind: 'password', username, password: password ?? '', source };
  return auth ? decodeAuth(auth, source) : undefined;
}

function decodeAuth(auth: string, source: string): Login {
  const text = Buffer.from(auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon <= 0) {
    throw new KeelsonError('INVALID_ARGUMENT', 'Cannot use registry credentials', {
      reason: `"auth" of ${source} is not "user:password" in base64`,
    });
  }
  // Docker's own files end the password with NUL bytes at times.
  const password = text.slice(colon + 1).replace(/\0+$/, '');
  return { kind: 'password', username: text.slice(0, colon), password, source };
}

interface AuthFile {
  auths?: Record<string, { auth?: string; identitytoken?: string; registrytoken?: string }>;
  credHelpers?: Record<string, string>;
  credsStore?: string;
}

/** Docker's `config.json`, which is also containers' `auth.json` (containers-auth.json(5)). */
async function fromAuthFile(
  path: string,
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<Login | undefined> {
  const text = await readTextIfExists(path);
  if (text === undefined) return undefined;
  const file = parseAuthFile(path, text);
  const host = hostOf(endpoint.host);
  const helper = file.credHelpers?.[endpoint.host] ?? file.credHelpers?.[host];
  // Docker's name for its hub.
  const address = host === 'docker.io' ? 'https://index.docker.io/v1/' : endpoint.host;
  if (helper !== undefined) return askHelper(helper, address, path, signal);
  for (const scope of scopes(endpoint)) {
    for (const [key, entry] of Object.entries(file.auths ?? {})) {
      if (normaliseKey(key) !== scope) continue;
      const login = loginOf(
        {
          ...(entry.auth ? { auth: entry.auth } : {}),
          ...(entry.identitytoken ? { identityToken: entry.identitytoken } : {}),
          ...(entry.registrytoken ? { registryToken: entry.registrytoken } : {}),
        },
        `"${path}"`,
      );
      if (login !== undefined) return login;
    }
  }
  if (file.credsStore) return askHelper(file.credsStore, address, path, signal);
  return undefined;
}

function parseAuthFile(path: string, text: string): AuthFile {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // The parser's message may quote a secret.
  }
  throw new KeelsonError('FAILED_PRECONDITION', `Cannot use registry credentials "${path}"`, {
    reason: 'the file is not a JSON object',
  });
}

/** Keys that hold for a repository, most specific first: `host/a/b`, `host/a`, `host`. */
function scopes(endpoint: Endpoint): string[] {
  const parts = [hostOf(endpoint.host), ...endpoint.repository.split('/')];
  return parts.map((_, index) => parts.slice(0, parts.length - index).join('/'));
}

/** `https://index.docker.io/v1/` is how Docker writes its hub; others are `host[/path]`. */
function normaliseKey(key: string): string {
  const bare = key.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  const [host = '', ...path] = bare.split('/');
  const legacy = /^v[12]$/.test(path[0] ?? '') && path.length === 1;
  return [hostOf(host), ...(legacy ? [] : path)].join('/');
}

/** Asks a program `docker-credential-NAME` by Docker's protocol: the address on stdin, JSON on stdout. */
async function askHelper(
  name: string,
  address: string,
  file: string,
  signal: AbortSignal,
): Promise<Login | undefined> {
  const action = `Cannot ask credential helper "${name}" of "${file}"`;
  if (!/^[\w.-]+$/.test(name)) {
    throw new KeelsonError('FAILED_PRECONDITION', action, {
      reason: 'that is no name of a program',
    });
  }
  const result = await run(`docker-credential-${name}`, ['get'], {
    input: address,
    signal: AbortSignal.any([signal, AbortSignal.timeout(HELPER_TIMEOUT)]),
  });
  if (result.code !== 0) {
    // Helpers answer on stdout that they know nothing of this host.
    if (/not found/i.test(result.stdout.toString('utf8'))) return undefined;
    throw new KeelsonError('FAILED_PRECONDITION', action, {
      reason: `it ended with code ${result.code}`,
    });
  }
  return parseHelperAnswer(result.stdout, action, `credential helper "${name}"`);
}

function parseHelperAnswer(output: Buffer, action: string, source: string): Login {
  try {
    const { Username, Secret }: { Username?: unknown; Secret?: unknown } = JSON.parse(
      output.toString('utf8'),
    );
    if (typeof Username === 'string' && typeof Secret === 'string') {
      return Username === '<token>'
        ? { kind: 'identity', token: Secret, source }
        : { kind: 'password', username: Username, password: Secret, source };
    }
  } catch {
    // Fall through: neither the answer nor the parser's message may be shown.
  }
  throw new KeelsonError('FAILED_PRECONDITION', action, { reason: 'its answer is malformed' });
}
