import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { ifExists, KeelsonError, messageOf, readTextIfExists } from '../../base/index.ts';
import {
  apiHost,
  CONNECT_TIMEOUT,
  defaultScheme,
  type Endpoint,
  NO_TLS_SETTINGS,
  type TlsSettings,
} from './endpoint.ts';

const oneOrMany = z.union([z.string(), z.array(z.string())]);

const hostSchema = z.looseObject({
  capabilities: z.array(z.string()).optional(),
  ca: oneOrMany.optional(),
  client: z.union([z.string(), z.array(oneOrMany)]).optional(),
  skip_verify: z.boolean().optional(),
  header: z.record(z.string(), oneOrMany).optional(),
  override_path: z.boolean().optional(),
  dial_timeout: z.string().optional(),
});

const fileSchema = hostSchema.extend({
  server: z.string().optional(),
  host: z.record(z.string(), hostSchema).optional(),
});

type HostTable = z.output<typeof hostSchema>;
type HostsFile = z.output<typeof fileSchema>;

const ALL_CAPABILITIES = ['pull', 'resolve', 'push'];
const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/**
 * The endpoints of a registry by containerd's `certs.d` layout: the hosts of its
 * `hosts.toml` in the file's order, then the server. Undefined if the directory has
 * nothing about the registry. Read anew each time, so that changes take effect.
 */
export async function endpointsFromCertsDir(
  directory: string,
  domain: string,
  repository: string,
  onWarning: (text: string) => void,
): Promise<Endpoint[] | undefined> {
  for (const name of directoryNames(domain)) {
    const path = join(directory, name);
    const file = join(path, 'hosts.toml');
    const text = await readTextIfExists(file);
    if (text !== undefined) {
      const parsed = parseFile(file, text);
      for (const key of unknownKeys(parsed))
        onWarning(`"${file}": "${key}" is not known and has no effect`);
      return endpointsFromFile(file, parsed, domain, repository);
    }
    const tls = await dockerCertificates(path);
    if (tls !== undefined) {
      const url = `https://${apiHost(domain)}`;
      return [await endpoint({ url, table: {}, file: path, domain, repository, tls })];
    }
  }
  return undefined;
}

/** `host_port_` first, because some file systems refuse colons. */
function directoryNames(domain: string): string[] {
  const port = /^(.*):(\d+)$/.exec(domain);
  return [...(port === null ? [] : [`${port[1]}_${port[2]}_`]), domain, '_default'];
}

async function endpointsFromFile(
  file: string,
  { server, host = {}, ...serverTable }: HostsFile,
  domain: string,
  repository: string,
): Promise<Endpoint[]> {
  const endpoints: Endpoint[] = [];
  for (const [url, table] of Object.entries(host)) {
    endpoints.push(await endpoint({ url, table, file, domain, repository }));
  }
  const url = server ?? apiHost(domain);
  endpoints.push(await endpoint({ url, table: serverTable, file, domain, repository }));
  return endpoints;
}

/** Keys of other tools, or of later versions. They must not stop a pull, nor be taken for honoured. */
function unknownKeys({ host = {}, ...top }: HostsFile): string[] {
  return [
    ...Object.keys(top).filter((key) => !(key in fileSchema.shape)),
    ...Object.entries(host).flatMap(([url, table]) =>
      Object.keys(table)
        .filter((key) => !(key in hostSchema.shape))
        .map((key) => `host.${url}.${key}`),
    ),
  ];
}

function parseFile(file: string, text: string): HostsFile {
  try {
    return fileSchema.parse(parse(text));
  } catch (cause) {
    const issue = cause instanceof z.ZodError ? cause.issues[0] : undefined;
    throw bad(
      file,
      issue ? `"${issue.path.join('.')}": ${issue.message}` : messageOf(cause),
      cause,
    );
  }
}

interface EndpointRequest {
  url: string;
  table: HostTable;
  file: string;
  domain: string;
  repository: string;
  tls?: TlsSettings;
}

async function endpoint(request: EndpointRequest): Promise<Endpoint> {
  const { table, file, domain, repository } = request;
  const url = parseUrl(file, request.url);
  const path = url.pathname.replace(/\/+$/, '');
  const isApiRoot = table.override_path === true || path.endsWith('/v2');
  const capabilities = table.capabilities ?? ALL_CAPABILITIES;
  const unknown = capabilities.find((capability) => !ALL_CAPABILITIES.includes(capability));
  if (unknown !== undefined) throw bad(file, `there is no capability "${unknown}"`);
  const isOrigin = url.host === domain || url.host === apiHost(domain);
  return {
    url: `${url.protocol}//${url.host}${path}${isApiRoot ? '' : '/v2'}`,
    host: url.host === apiHost(domain) ? domain : url.host,
    repository,
    namespace: isOrigin ? undefined : domain,
    canResolve: capabilities.includes('resolve'),
    canPull: capabilities.includes('pull'),
    headers: table.header ?? {},
    tls: request.tls ?? (await tlsSettings(file, table)),
    connectTimeout: duration(file, table.dial_timeout),
    source: file,
    isMirror: !isOrigin,
  };
}

function parseUrl(file: string, text: string): URL {
  const full = text.includes('://') ? text : `${defaultScheme(text)}://${text}`;
  const url = URL.parse(full);
  if (url === null || !/^https?:$/.test(url.protocol)) throw bad(file, `"${text}" is not a URL`);
  return url;
}

async function tlsSettings(file: string, table: HostTable): Promise<TlsSettings> {
  const read = (path: string) => readPem(file, resolve(dirname(file), path));
  return {
    ca: await Promise.all([table.ca ?? []].flat().map(read)),
    clients: await Promise.all(
      clientPairs(file, table.client).map(async ([cert, key]) => ({
        cert: await read(cert),
        key: await read(key),
      })),
    ),
    skipVerify: table.skip_verify ?? false,
  };
}

/** `client` is one file that holds certificate and key, or a list of such files and of pairs. */
function clientPairs(file: string, client: HostTable['client']): [cert: string, key: string][] {
  if (client === undefined) return [];
  const items = typeof client === 'string' ? [client] : client;
  return items.map((item) => {
    if (typeof item === 'string') return [item, item];
    const [cert, key, ...rest] = item;
    if (cert === undefined || rest.length > 0) throw bad(file, '"client" is not a pair of files');
    return [cert, key || cert];
  });
}

async function readPem(file: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw bad(file, `cannot read "${path}"`, cause);
  }
}

/** Docker's form: `*.crt` are authorities, `NAME.cert` and `NAME.key` a client's pair. */
async function dockerCertificates(directory: string): Promise<TlsSettings | undefined> {
  const all = (await ifExists(readdir(directory))) ?? [];
  const names = all.filter((name) => /\.(crt|cert)$/.test(name)).sort();
  if (names.length === 0) return undefined;
  const read = (name: string) => readPem(directory, join(directory, name));
  const certs = names.filter((name) => name.endsWith('.cert'));
  return {
    ...NO_TLS_SETTINGS,
    ca: await Promise.all(names.filter((name) => name.endsWith('.crt')).map(read)),
    clients: await Promise.all(
      certs.map(async (name) => ({
        cert: await read(name),
        key: await read(name.replace(/cert$/, 'key')),
      })),
    ),
  };
}

/** Go's notation: `30s`, `1m30s`, `500ms`. */
function duration(file: string, text: string | undefined): number {
  if (text === undefined) return CONNECT_TIMEOUT;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join('') !== text) {
    throw bad(file, `"${text}" is not a duration`);
  }
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS[unit ?? ''] ?? 0), 0);
}

function bad(file: string, reason: string, cause?: unknown): KeelsonError {
  return new KeelsonError('FAILED_PRECONDITION', `Cannot use registry configuration "${file}"`, {
    reason,
    ...(cause === undefined ? {} : { cause }),
  });
}
