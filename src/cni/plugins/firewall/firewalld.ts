import { type Cidr, formatCidr, KeelsonError } from '../../../base/index.ts';
import { SystemBus } from '../../../linux/index.ts';
import type { PluginCall } from '../../spec/index.ts';
import { checkFailed } from '../plugin-definition.ts';

/** The D-Bus interface of firewalld (firewalld.dbus(5)). */
const SERVICE = 'org.fedoraproject.FirewallD1';
const ZONES = {
  destination: SERVICE,
  path: '/org/fedoraproject/FirewallD1',
  interface: `${SERVICE}.zone`,
};

export async function isFirewalldRunning(signal: AbortSignal): Promise<boolean> {
  try {
    using bus = await SystemBus.connect(signal);
    return await bus.has(SERVICE);
  } catch {
    signal.throwIfAborted();
    // Without a bus there is no firewalld.
    return false;
  }
}

/** Puts addresses into a zone of firewalld. That they are in it is fine; in another, an error. */
export async function addToZone(
  zone: string,
  ips: readonly Cidr[],
  call: PluginCall,
): Promise<void> {
  await forEachSource('addSource', { zone, ips, call, tolerate: 'ZONE_ALREADY_SET' });
}

/** Takes addresses out of a zone. That they are in none is fine: firewalld forgets them when it ends. */
export async function removeFromZone(
  zone: string,
  ips: readonly Cidr[],
  call: PluginCall,
): Promise<void> {
  if (!(await isFirewalldRunning(call.signal))) return;
  await forEachSource('removeSource', { zone, ips, call, tolerate: 'UNKNOWN_SOURCE' });
}

export async function checkZone(
  zone: string,
  ips: readonly Cidr[],
  call: PluginCall,
): Promise<void> {
  const answers = await forEachSource('querySource', { zone, ips, call });
  for (const [source, isThere] of answers) {
    if (!isThere) throw checkFailed(`${source} is not in zone "${zone}"`);
  }
}

interface ZoneCall {
  readonly zone: string;
  readonly ips: readonly Cidr[];
  readonly call: PluginCall;
  /** The error of firewalld that is none here. */
  readonly tolerate?: string;
}

/** Calls a method for each address; answers what firewalld answered, by address. */
async function forEachSource(
  member: string,
  { zone, ips, call, tolerate }: ZoneCall,
): Promise<Map<string, string | boolean | undefined>> {
  const answers = new Map<string, string | boolean | undefined>();
  if (ips.length === 0) return answers;
  using bus = await SystemBus.connect(call.signal);
  for (const { ip } of ips) {
    const source = formatCidr({ ip, prefix: ip.length * 8 });
    const { errorName, values } = await bus.call({ ...ZONES, member, args: [zone, source] });
    const [answer] = values;
    answers.set(source, answer);
    if (errorName === undefined || (tolerate && `${answer}`.startsWith(tolerate))) continue;
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot ${member} ${source} of zone "${zone}"`, {
      reason: `${answer ?? errorName}`,
    });
  }
  return answers;
}
