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
      : await readRegistriesConf(sources.registriesConf);
  const rule = conf && ruleFor(conf, reference);
  const byRule = rule && endpointsFromRule(rule, reference);
  const byDirectory =
    sources.certsDir === undefined
      ? undefined
      : await endpointsFromCertsDir(sources.certsDir, domain, path, onWarning);
  return byDirectory ?? byRule ?? [defaultEndpoint(reference)];
}

/** The references that a name may stand for: itself, or for a short name what `registries.conf` says. */
export async function findCandidates(name: string, sources: EndpointSources): Promise<Reference[]> {
  const reference = parseReference(name);
  if (sources.registriesConf === undefined || !isShortName(name)) return [reference];
  const conf = await readRegistriesConf(sources.registriesConf);
  const names = conf === undefined ? [] : expandShortName(conf, name);
  return names.length === 0 ? [reference] : names.map(parseReference);
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
