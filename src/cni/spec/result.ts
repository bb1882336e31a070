/**
 * What an ADD made, in the form of CNI 1.1.0. The only form inside Keelson: `parseResult`
 * and `formatResult` convert from and to the form of older versions.
 */
export interface CniResult {
  interfaces: CniInterface[];
  ips: CniIp[];
  routes: CniRoute[];
  dns: CniDns;
}

export interface CniInterface {
  name: string;
  mac?: string;
  mtu?: number;
  /** Path of the network namespace that the interface is in. Left out: the host's. */
  sandbox?: string;
  socketPath?: string;
  pciID?: string;
}

export interface CniIp {
  /** Address and prefix length: `10.1.0.5/16`. */
  address: string;
  gateway?: string;
  /** Index into `interfaces`. Left out by IPAM plugins. */
  interface?: number;
}

export interface CniRoute {
  /** CIDR. */
  dst: string;
  gw?: string;
  mtu?: number;
  advmss?: number;
  priority?: number;
  table?: number;
  /** 0 global, 253 link, 254 host. */
  scope?: number;
}

export interface CniDns {
  nameservers?: string[];
  domain?: string;
  search?: string[];
  options?: string[];
}

/** A result without anything in it. */
export function emptyResult(): CniResult {
  return { interfaces: [], ips: [], routes: [], dns: {} };
}
