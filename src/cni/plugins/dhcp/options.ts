import type { JsonReader, PluginCall } from '../../spec/index.ts';
import { invalidConfig, readConfig } from '../plugin-definition.ts';
import { OPTION } from './message.ts';

/** Names that the reference plugin takes besides numbers (dhcp-options(5)). */
const NAMES: Readonly<Record<string, number>> = {
  'dhcp-client-identifier': OPTION.CLIENT_ID,
  'subnet-mask': OPTION.SUBNET_MASK,
  routers: OPTION.ROUTER,
  'host-name': 12,
  'user-class': 77,
  'vendor-class-identifier': 60,
};

const DEFAULT_REQUESTS = [OPTION.ROUTER, OPTION.SUBNET_MASK];
const LONGEST_VALUE = 255;
const LONGEST_CLIENT_ID = 254;

/** The options that go with each message of a client: who it is, what it gives and wants. */
export function readOptions(call: PluginCall): Map<number, Buffer> {
  const ipam = readConfig(call).required('ipam');
  const options = new Map([[OPTION.CLIENT_ID as number, clientId(call)]]);
  const args = new Map(
    call.args.split(';').map((pair): [string, string] => {
      const at = pair.indexOf('=');
      return [pair.slice(0, Math.max(0, at)), pair.slice(at + 1)];
    }),
  );
  for (const item of ipam.get('provide')?.items() ?? []) {
    const value = args.get(item.get('fromArg')?.string() || '\0') ?? item.get('value')?.string();
    if (value === undefined || value === '') continue;
    if (Buffer.byteLength(value) > LONGEST_VALUE) throw item.error('the value is too long');
    options.set(optionNumber(item.required('option')), Buffer.from(value));
  }
  options.set(OPTION.PARAMETERS, Buffer.from(requested(ipam)));
  return options;
}

function requested(ipam: JsonReader): number[] {
  const items = ipam.get('request')?.items() ?? [];
  const skip = items.some((item) => item.get('skipDefault')?.boolean() ?? false);
  const wanted = items.flatMap((item) => {
    const option = item.get('option');
    return option === undefined || option.value === '' ? [] : [optionNumber(option)];
  });
  return [...new Set([...wanted, ...(skip ? [] : DEFAULT_REQUESTS)])];
}

function optionNumber(reader: JsonReader): number {
  const name = reader.string();
  const number = NAMES[name] ?? (/^\d{1,3}$/.test(name) ? Number(name) : 0);
  if (number < 1 || number > 254) throw reader.error(`${JSON.stringify(name)} is no DHCP option`);
  return number;
}

/** A type byte of 0, then container, network and interface. */
function clientId(call: PluginCall): Buffer {
  const text = `${call.containerId}/${call.config.name}/${call.ifname}`;
  return Buffer.concat([Buffer.of(0), Buffer.from(text).subarray(0, LONGEST_CLIENT_ID)]);
}

/** The `priority` that routes get. */
export function readPriority(call: PluginCall): number | undefined {
  const priority = readConfig(call).required('ipam').get('priority')?.integer(0, 0xffffffff);
  if (priority === undefined) return undefined;
  if (priority === 0) throw invalidConfig('priority must be above 0');
  return priority;
}
