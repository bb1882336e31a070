import {
  type Cidr,
  containsIp,
  formatCidr,
  formatIp,
  type Ip,
  parseCidr,
  parseIp,
} from '../../base/index.ts';
import {
  type CniIp,
  emptyResult,
  isAtLeast,
  type JsonReader,
  type Plugin,
  type PluginCall,
} from '../spec/index.ts';
import { cidrOf, readCidr, readIp, readRoutes } from './addresses.ts';
import { readArgs } from './cni-args.ts';
import { readDns } from './dns.ts';
import {
  checkFailed,
  definePlugin,
  invalidConfig,
  readConfig,
  requirePrevResult,
  staticArgs,
} from './plugin-definition.ts';

interface StaticAddress {
  readonly cidr: Cidr;
  gateway: Ip | undefined;
}

/** IPAM that gives the addresses that its configuration or the caller names. */
export function staticIpam(): Plugin {
  return definePlugin('static', {
    async add(call) {
      const ipam = readConfig(call).required('ipam');
      return {
        ...emptyResult(),
        ips: readAddresses(call).map(format),
        routes: readRoutes(ipam.get('routes')),
        dns: readDns(ipam.get('dns')),
      };
    },

    async del() {},

    /** The result must have each of the addresses, with its gateway. */
    async check(call) {
      const { ips } = requirePrevResult(call);
      for (const { cidr, gateway } of readAddresses(call)) {
        const found = ips.find((ip) => formatCidr(cidrOf(ip.address)) === formatCidr(cidr));
        if (found === undefined) throw checkFailed(`static: prevResult lacks ${formatCidr(cidr)}`);
        if (gateway !== undefined && found.gateway !== formatIp(gateway)) {
          throw checkFailed(`static: ${formatCidr(cidr)} has gateway ${found.gateway}`);
        }
      }
    },
  });
}

function format({ cidr, gateway }: StaticAddress): CniIp {
  return {
    address: formatCidr(cidr),
    ...(gateway === undefined ? {} : { gateway: formatIp(gateway) }),
  };
}

/**
 * The configured addresses and those of CNI_ARGS; or only those of the capability `ips`,
 * or of `args.cni.ips`, if there are any, which no gateway of CNI_ARGS concerns.
 */
function readAddresses(call: PluginCall): StaticAddress[] {
  const config = readConfig(call);
  const ips =
    config.get('runtimeConfig')?.get('ips')?.items() ??
    staticArgs(config)?.get('ips')?.items() ??
    [];
  const addresses =
    ips.length > 0
      ? ips.map((ip) => ({ cidr: readCidr(ip), gateway: undefined }))
      : withGateways(call, [...configured(config.required('ipam')), ...fromArgs(call)]);
  const v4 = addresses.filter(({ cidr }) => cidr.ip.length === 4).length;
  const several = Math.max(v4, addresses.length - v4) > 1;
  if (several && !isAtLeast(call.config.cniVersion, '0.3.0')) {
    throw invalidConfig(
      `CNI version ${call.config.cniVersion} does not support more than 1 address per family`,
    );
  }
  return addresses;
}

function configured(ipam: JsonReader): StaticAddress[] {
  return (ipam.get('addresses')?.items() ?? []).map((address) => ({
    cidr: readCidr(address.required('address')),
    gateway: readIp(address.get('gateway')),
  }));
}

function fromArgs(call: PluginCall): StaticAddress[] {
  return listArg(call, 'IP').map((text) => {
    const cidr = parseCidr(text);
    if (cidr === undefined)
      throw invalidConfig(`invalid address ${JSON.stringify(text)} in CNI_ARGS`);
    return { cidr, gateway: undefined };
  });
}

/** A gateway of CNI_ARGS is that of each address whose network holds it. */
function withGateways(call: PluginCall, addresses: StaticAddress[]): StaticAddress[] {
  for (const text of listArg(call, 'GATEWAY')) {
    const gateway = parseIp(text);
    if (gateway === undefined) {
      throw invalidConfig(`invalid gateway ${JSON.stringify(text)} in CNI_ARGS`);
    }
    for (const address of addresses) {
      if (containsIp(address.cidr, gateway)) address.gateway = gateway;
    }
  }
  return addresses;
}

function listArg(call: PluginCall, key: string): string[] {
  const text = readArgs(call, ['IP', 'GATEWAY']).get(key) ?? '';
  return text === '' ? [] : text.split(',').map((item) => item.trim());
}
