import { KeelsonError } from '../../base/index.ts';
import { isShortName, parseReference, type Reference } from '../spec/index.ts';
import {
  apiHost,
  CONNECT_TIMEOUT,
  defaultScheme,
  type Endpoint,
  NO_TLS_SETTINGS,
} from './endpoint.ts';
import { endpointsFromCertsDir } from './hosts-toml.ts';
import {
  AUTH_FILES,
  endpointsFromRule,
  expandShortName,
  readRegistriesConf,
  ruleFor,
} from './registries-conf.ts';

export interface EndpointSources {
  /** containerd's `certs.d`. */
  certsDir?: string | undefined;
  /** A `registries.conf` of version 2. */
  registriesConf?: string | undefined;
}

/** Settings that are read and not honoured are told here. */
export type OnWarning = (text: string) => void;

/**
 * Where a reference may be asked for, in order. What `certs.d` says of the registry holds;
 * where it says nothing, the rule of `registries.conf`; where that has none, the registry
 * itself. Blocked by `registries.conf` is blocked in any case.
 */
export async function findEndpoints(
  reference: Reference,
  sources: EndpointSources,
  onWarning: OnWarning = () => {},
): Promise<Endpoint[]> {
  const { domain, path } = reference;
  const conf =
    sources.registriesConf === undefined
      ? undefined
      : await readRegistriesConf(sources.registriesConf, onWarning);
  const rule = conf && ruleFor(conf, reference);
  const byRule = rule && endpointsFromRule(rule, reference);
  const byDirectory =
    sources.certsDir === undefined
      ? undefined
      : await endpointsFromCertsDir(sources.certsDir, domain, path, onWarning);
  return byDirectory ?? byRule ?? [defaultEndpoint(reference)];
}

/** Where credentials are looked for, in order: AUTH_FILES, and names of helpers. */
export async function findCredentialHelpers({
  registriesConf,
}: EndpointSources): Promise<readonly string[]> {
  const conf = registriesConf === undefined ? undefined : await readRegistriesConf(registriesConf);
  const helpers = conf?.credentialHelpers ?? [];
  return helpers.length === 0 ? [AUTH_FILES] : helpers;
}

/** The references that a name may stand for: itself, or for a short name what `registries.conf` says. */
export async function findCandidates(name: string, sources: EndpointSources): Promise<Reference[]> {
  const reference = parseReference(name);
  if (sources.registriesConf === undefined || !isShortName(name)) return [reference];
  const conf = await readRegistriesConf(sources.registriesConf);
  if (conf === undefined) return [reference];
  const names = expandShortName(conf, name);
  if (names.length > 1 && conf.shortNameMode === 'enforcing') throw ambiguous(name, names);
  return names.length === 0 ? [reference] : names.map(parseReference);
}

/**
 * The references that a text may mean among the images that are here: what a pull would
 * try, also where a pull would refuse to choose, and then what Docker takes it for, which
 * is how archives write names. None if it cannot be a name.
 */
export async function findLocalCandidates(
  text: string,
  { registriesConf }: EndpointSources,
): Promise<Reference[]> {
  const reference = readReference(text);
  if (reference === undefined) return [];
  if (registriesConf === undefined || !isShortName(text)) return [reference];
  const conf = await readRegistriesConf(registriesConf);
  const names = conf === undefined ? [] : expandShortName(conf, text);
  return [...names.map(parseReference), reference];
}

function readReference(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch {
    return undefined;
  }
}

function ambiguous(name: string, names: readonly string[]): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', `Cannot resolve short name "${name}"`, {
    reason: `it may mean ${names.map((full) => `"${full}"`).join(' or ')}`,
    hint: 'write the whole name, or add an alias',
  });
}

function defaultEndpoint(reference: Reference): Endpoint {
  const host = apiHost(reference.domain);
  return {
    url: `${defaultScheme(host)}://${host}/v2`,
    host: reference.domain,
    repository: reference.path,
    namespace: undefined,
    canResolve: true,
    canPull: true,
    headers: {},
    tls: NO_TLS_SETTINGS,
    connectTimeout: CONNECT_TIMEOUT,
    source: 'default',
    isMirror: false,
  };
}
