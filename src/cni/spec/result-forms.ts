import { familyOfCidr } from './addresses.ts';
import { CNI_ERROR, CniError } from './error.ts';
import { compact, JsonReader } from './json-reader.ts';
import type { CniDns, CniInterface, CniIp, CniResult, CniRoute } from './result.ts';
import { type CniVersion, isAtLeast, isCniVersion } from './versions.ts';

const UINT32 = 0xffffffff;

/**
 * Reads a result in the form of any version. `fallback` is the version of a result that
 * does not say its own; `what` names it in errors. Fails with a `CniError`: decoding
 * failure, or incompatible version.
 */
export function parseResult(json: unknown, fallback: CniVersion, what: string): CniResult {
  const reader = new JsonReader(json, what, CNI_ERROR.DECODING_FAILURE);
  const version = reader.get('cniVersion')?.string() || fallback;
  if (!isCniVersion(version)) {
    throw new CniError(CNI_ERROR.INCOMPATIBLE_VERSION, what, {
      details: `its CNI version "${version.slice(0, 50)}" is not known`,
    });
  }
  return isAtLeast(version, '0.3.0') ? parseModern(reader) : parseAncient(reader);
}

/** From 0.3.0 on, versions differ only by what is left out. */
function parseModern(reader: JsonReader): CniResult {
  const interfaces = (reader.get('interfaces')?.items() ?? []).map(parseInterface);
  return {
    interfaces,
    ips: (reader.get('ips')?.items() ?? []).map((ip) => parseIp(ip, interfaces.length)),
    routes: (reader.get('routes')?.items() ?? []).map(parseRoute),
    dns: parseDns(reader.get('dns')),
  };
}

/** 0.1.0 and 0.2.0: at most one address of each family, with its routes. */
function parseAncient(reader: JsonReader): CniResult {
  const parts = ['ip4', 'ip6'].flatMap((key) => reader.get(key) ?? []);
  return {
    interfaces: [],
    ips: parts.map((part) =>
      compact({
        address: part.required('ip').cidr(),
        gateway: part.get('gateway')?.address(),
      }),
    ),
    routes: parts.flatMap((part) => (part.get('routes')?.items() ?? []).map(parseRoute)),
    dns: parseDns(reader.get('dns')),
  };
}

function parseInterface(reader: JsonReader): CniInterface {
  return compact({
    name: reader.required('name').string(),
    mac: reader.get('mac')?.string() || undefined,
    mtu: reader.get('mtu')?.integer(0, UINT32) || undefined,
    sandbox: reader.get('sandbox')?.string() || undefined,
    socketPath: reader.get('socketPath')?.string() || undefined,
    pciID: reader.get('pciID')?.string() || undefined,
  });
}

/** Plugins in use name interfaces that they do not list (host-device for a card without one): no interface, then. */
function parseIp(reader: JsonReader, interfaces: number): CniIp {
  const index = reader.get('interface')?.integer(0, UINT32);
  return compact({
    address: reader.required('address').cidr(),
    gateway: reader.get('gateway')?.address(),
    interface: index === undefined || index >= interfaces ? undefined : index,
  });
}

function parseRoute(reader: JsonReader): CniRoute {
  const number = (key: string) => reader.get(key)?.integer(0, UINT32);
  return compact({
    dst: reader.required('dst').cidr(),
    gw: reader.get('gw')?.address(),
    mtu: number('mtu') || undefined,
    advmss: number('advmss') || undefined,
    priority: number('priority') || undefined,
    table: number('table'),
    scope: reader.get('scope')?.integer(0, 255),
  });
}

function parseDns(reader: JsonReader | undefined): CniDns {
  if (reader === undefined) return {};
  return withoutEmpty(
    compact({
      nameservers: reader.get('nameservers')?.strings(),
      domain: reader.get('domain')?.string(),
      search: reader.get('search')?.strings(),
      options: reader.get('options')?.strings(),
    }),
  );
}

/** An empty list says no more than none, and the reference plugins print none. */
function withoutEmpty(dns: CniDns): CniDns {
  return Object.fromEntries(Object.entries(dns).filter(([, value]) => value.length > 0));
}

/** The result in the form of `version`, ready to be written as JSON. What that version cannot say is left out. */
export function formatResult(result: CniResult, version: CniVersion): Record<string, unknown> {
  if (!isAtLeast(version, '0.3.0')) return formatAncient(result, version);
  if (isAtLeast(version, '1.1.0')) return { cniVersion: version, ...formatParts(result) };
  return {
    cniVersion: version,
    ...formatParts({
      ...result,
      interfaces: result.interfaces.map(({ name, mac, sandbox }) =>
        compact({ name, mac, sandbox }),
      ),
      ips: isAtLeast(version, '1.0.0') ? result.ips : result.ips.map(withFamily),
      routes: result.routes.map(({ dst, gw }) => compact({ dst, gw })),
    }),
  };
}

function formatParts(result: CniResult): Record<string, unknown> {
  const { interfaces, ips, routes, dns } = result;
  return {
    ...(interfaces.length === 0 ? {} : { interfaces }),
    ...(ips.length === 0 ? {} : { ips }),
    ...(routes.length === 0 ? {} : { routes }),
    dns: withoutEmpty(dns),
  };
}

/** Until 0.4.0 each address says its family. */
function withFamily(ip: CniIp): CniIp & { version: string } {
  return { version: String(familyOfCidr(ip.address) ?? 4), ...ip };
}

function formatAncient(result: CniResult, version: CniVersion): Record<string, unknown> {
  const part = (family: 4 | 6) => {
    const ip = result.ips.find(({ address }) => familyOfCidr(address) === family);
    if (ip === undefined) return undefined;
    const routes = result.routes
      .filter(({ dst }) => familyOfCidr(dst) === family)
      .map(({ dst, gw }) => compact({ dst, gw }));
    return compact({
      ip: ip.address,
      gateway: ip.gateway,
      routes: routes.length === 0 ? undefined : routes,
    });
  };
  const dns = withoutEmpty(result.dns);
  return compact({ cniVersion: version, ip4: part(4), ip6: part(6), dns });
}
