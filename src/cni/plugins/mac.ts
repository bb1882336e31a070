import { parseMac } from '../../linux/index.ts';
import type { PluginCall } from '../spec/index.ts';
import { readArgs } from './cni-args.ts';
import { invalidConfig, readConfig, staticArgs } from './plugin-definition.ts';

/**
 * The hardware address that the container's interface shall have: the capability `mac`,
 * else `args.cni.mac`, else `MAC` of CNI_ARGS, else what the configuration says.
 */
export function readMac(call: PluginCall, configured?: string): Buffer | undefined {
  const config = readConfig(call);
  const text =
    config.get('runtimeConfig')?.get('mac')?.string() ||
    staticArgs(config)?.get('mac')?.string() ||
    readArgs(call, ['MAC']).get('MAC') ||
    configured;
  if (text === undefined || text === '') return undefined;
  const mac = parseMac(text);
  if (mac === undefined) throw invalidConfig(`${JSON.stringify(text)} is not a MAC address`);
  return mac;
}
