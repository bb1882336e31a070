import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { ifExists, KeelsonError, messageOf, readTextIfExists } from '../../base/index.ts';
import type { Reference } from '../spec/index.ts';
import {
  apiHost,
  CONNECT_TIMEOUT,
  defaultScheme,
  type Endpoint,
  NO_TLS_SETTINGS,
} from './endpoint.ts';

const mirrorSchema = z.looseObject({
  location: z.string(),
  insecure: z.boolean().optional(),
  'pull-from-mirror': z.enum(['all', 'digest-only', 'tag-only']).optional(),
});

const registrySchema = z.looseObject({
  prefix: z.string().optional(),
  location: z.string().optional(),
  insecure: z.boolean().optional(),
  blocked: z.boolean().optional(),
  'mirror-by-digest-only': z.boolean().optional(),
  mirror: z.array(mirrorSchema).optional(),
});

const fileSchema = z.looseObject({
  'unqualified-search-registries': z.array(z.string()).optional(),
  'credential-helpers': z.array(z.string()).optional(),
  'short-name-mode': z.enum(['enforcing', 'permissive', 'disabled']).optional(),
  registry: z.array(registrySchema).optional(),
  aliases: z.record(z.string(), z.string()).optional(),
});

type RegistryTable = z.output<typeof registrySchema> & { file: string };

/** The rules of `registries.conf` version 2 and its drop-ins, together. */
export interface RegistriesConf {
  registries: RegistryTable[];
  searchRegistries: string[];
  shortNameMode: 'enforcing' | 'permissive' | 'disabled';
  aliases: Record<string, string>;
  /** Where credentials are looked for, in order: AUTH_FILES, and names of helpers. */
  credentialHelpers: string[];
}

/** The word for auth files among credential helpers (containers-registries.conf(5)). */
export const AUTH_FILES = 'containers-auth.json';

/**
 * Reads `registries.conf` and `registries.conf.d/*.conf` beside it; later files win.
 * Undefined if there is none. Read anew each time, so that changes take effect.
 */
export async function readRegistriesConf(
  path: string,
  onWarning: (text: string) => void = () => {},
): Promise<RegistriesConf | undefined> {
  const dropIns = (await ifExists(readdir(`${path}.d`))) ?? [];
  const files = [
    path,
    ...dropIns
      .filter((name) => name.endsWith('.conf'))
      .sort()
      .map((name) => join(`${path}.d`, name)),
  ];
  const conf: RegistriesConf = {
    registries: [],
    searchRegistries: [],
    shortNameMode: 'permissive',
    aliases: {},
    credentialHelpers: [],
  };
  let found = false;
  for (const file of files) {
    const text = await readTextIfExists(file);
    if (text === undefined) continue;
    found = true;
    const parsed = parseFile(file, text);
    for (const key of unknownKeys(parsed))
      onWarning(`"${file}": "${key}" is not known and has no effect`);
    merge(conf, file, parsed);
  }
  return found ? conf : undefined;
}

/** The rule for a reference: that with the longest prefix. */
export function ruleFor(conf: RegistriesConf, reference: Reference): RegistryTable | undefined {
  const name = fullName(reference);
  let best: { rule: RegistryTable; length: number } | undefined;
  for (const rule of conf.registries) {
    const length = matchLength(prefixOf(rule), name, reference.domain);
    if (length !== undefined && (best === undefined || length > best.length))
      best = { rule, length };
  }
  return best?.rule;
}

/** The endpoints by a rule: its mirrors in order, then its location. Fails if it blocks the reference. */
export function endpointsFromRule(rule: RegistryTable, reference: Reference): Endpoint[] {
  if (rule.blocked) {
    throw new KeelsonError('PERMISSION_DENIED', `Cannot use registry "${reference.domain}"`, {
      reason: `"${rule.file}" blocks "${prefixOf(rule)}"`,
    });
  }
  const mirrors = (rule.mirror ?? []).flatMap((mirror) => {
    const only =
      mirror['pull-from-mirror'] ?? (rule['mirror-by-digest-only'] ? 'digest-only' : 'all');
    const byDigest = reference.digest !== undefined;
    if ((only === 'digest-only' && !byDigest) || (only === 'tag-only' && byDigest)) return [];
    return endpoints(rule, mirror, reference, true);
  });
  return [...mirrors, ...endpoints(rule, rule, reference, false)];
}

/** What a short name may stand for: its alias, or the name in each search registry. */
export function expandShortName(conf: RegistriesConf, name: string): string[] {
  const [, base = name, rest = ''] = /^([^:@]+)(.*)$/.exec(name) ?? [];
  const alias = conf.aliases[base];
  if (alias !== undefined && alias !== '') return [alias + rest];
  return conf.searchRegistries.map((host) => `${host}/${name}`);
}

function merge(conf: RegistriesConf, file: string, parsed: z.output<typeof fileSchema>): void {
  const added = (parsed.registry ?? []).map((rule) => ({ ...rule, file }));
  for (const rule of added) {
    if (prefixOf(rule) === '') throw bad(file, 'a registry has neither "prefix" nor "location"');
  }
  const replaced = new Set(added.map(prefixOf));
  conf.registries = [...conf.registries.filter((rule) => !replaced.has(prefixOf(rule))), ...added];
  conf.searchRegistries = parsed['unqualified-search-registries'] ?? conf.searchRegistries;
  conf.shortNameMode = parsed['short-name-mode'] ?? conf.shortNameMode;
  conf.credentialHelpers = parsed['credential-helpers'] ?? conf.credentialHelpers;
  Object.assign(conf.aliases, parsed.aliases);
}

/** Keys of other tools, or of later versions, and those that only people at a terminal need. */
function unknownKeys(file: z.output<typeof fileSchema>): string[] {
  const unknown = (table: object, schema: { shape: object }, prefix: string) =>
    Object.keys(table)
      .filter((key) => !(key in schema.shape))
      .map((key) => prefix + key);
  const registries = file.registry ?? [];
  const mirrors = registries.flatMap(({ mirror }) => mirror ?? []);
  return [
    ...unknown(file, fileSchema, ''),
    ...registries.flatMap((table) => unknown(table, registrySchema, 'registry.')),
    ...mirrors.flatMap((table) => unknown(table, mirrorSchema, 'registry.mirror.')),
  ];
}

function parseFile(file: string, text: string): z.output<typeof fileSchema> {
  try {
    const tables = parse(text);
    if ('registries' in tables) throw bad(file, 'it has the format of version 1, not of version 2');
    return fileSchema.parse(tables);
  } catch (cause) {
    if (cause instanceof KeelsonError) throw cause;
    const issue = cause instanceof z.ZodError ? cause.issues[0] : undefined;
    throw bad(
      file,
      issue ? `"${issue.path.join('.')}": ${issue.message}` : messageOf(cause),
      cause,
    );
  }
}

function prefixOf(rule: { prefix?: string | undefined; location?: string | undefined }): string {
  return rule.prefix ?? rule.location ?? '';
}

function fullName({ domain, path, tag, digest }: Reference): string {
  return `${domain}/${path}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** Characters of `name` that a prefix covers; it ends at a boundary or not at all. */
function matchLength(prefix: string, name: string, domain: string): number | undefined {
  if (prefix.startsWith('*.')) {
    const [host = '', ...path] = prefix.slice(1).split('/');
    if (!domain.endsWith(host)) return undefined;
    const whole = [domain, ...path].join('/');
    return matchLength(whole, name, domain) === undefined ? undefined : prefix.length;
  }
  if (!name.startsWith(prefix)) return undefined;
  const next = name[prefix.length];
  return next === undefined || '/:@'.includes(next) ? prefix.length : undefined;
}

/** The endpoint of a location. An insecure one is tried with TLS, unverified, and then without. */
function endpoints(
  rule: RegistryTable,
  target: { location?: string | undefined; insecure?: boolean | undefined },
  reference: Reference,
  isMirror: boolean,
): Endpoint[] {
  const [domain = '', ...path] = relocate(rule, target.location, reference).split('/');
  const insecure = target.insecure ?? false;
  const schemes = insecure ? ['https', 'http'] : [defaultScheme(apiHost(domain))];
  return schemes.map((scheme) => ({
    url: `${scheme}://${apiHost(domain)}/v2`,
    host: domain,
    repository: path.join('/'),
    namespace: undefined,
    canResolve: true,
    canPull: true,
    headers: {},
    tls: { ...NO_TLS_SETTINGS, skipVerify: insecure },
    connectTimeout: CONNECT_TIMEOUT,
    source: rule.file,
    isMirror,
  }));
}

/** The repository with the rule's prefix replaced by a location. */
function relocate(
  rule: RegistryTable,
  location: string | undefined,
  { domain, path }: Reference,
): string {
  const repository = `${domain}/${path}`;
  if (location === undefined) return repository;
  const prefix = prefixOf(rule);
  if (prefix.startsWith('*.')) {
    const [, ...below] = prefix.split('/');
    return location + repository.slice([domain, ...below].join('/').length);
  }
  // A prefix with a tag or digest covers the whole repository.
  return location + repository.slice(Math.min(prefix.length, repository.length));
}

function bad(file: string, reason: string, cause?: unknown): KeelsonError {
  return new KeelsonError('FAILED_PRECONDITION', `Cannot use registry configuration "${file}"`, {
    reason,
    ...(cause === undefined ? {} : { cause }),
  });
}
