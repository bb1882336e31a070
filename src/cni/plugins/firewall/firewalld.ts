import { readFile } from 'node:fs/promises';
import { type Cidr, formatCidr, ifExists, KeelsonError } from '../../../base/index.ts';
import { identifyProcess, run } from '../../../linux/index.ts';
import type { PluginCall } from '../../spec/index.ts';
import { checkFailed } from '../plugin-definition.ts';

/** firewalld writes its process id there. */
const PID_FILE = '/run/firewalld.pid';

export async function isFirewalldRunning(): Promise<boolean> {
  const pid = Number(await ifExists(readFile(PID_FILE, 'utf8')));
  return Number.isInteger(pid) && pid > 0 && identifyProcess(pid) !== undefined;
}

/** Puts addresses into a zone of firewalld. */
export async function addToZone(
  zone: string,
  ips: readonly Cidr[],
  call: PluginCall,
): Promise<void> {
  for (const source of sourcesOf(ips)) await command(zone, `--add-source=${source}`, call);
}

/** Takes addresses out of a zone. That they are in none is fine. */
export async function removeFromZone(
  zone: string,
  ips: readonly Cidr[],
  call: PluginCall,
): Promise<void> {
  for (const source of sourcesOf(ips)) {
    if (await isInZone(zone, source, call)) await command(zone, `--remove-source=${source}`, call);
  }
}

export async function checkZone(
  zone: string,
  ips: readonly Cidr[],
  call: PluginCall,
): Promise<void> {
  for (const source of sourcesOf(ips)) {
    if (!(await isInZone(zone, source, call)))
      throw checkFailed(`${source} is not in zone "${zone}"`);
  }
}

async function isInZone(zone: string, source: string, call: PluginCall): Promise<boolean> {
  const args = [`--zone=${zone}`, `--query-source=${source}`];
  return (await run('firewall-cmd', args, { signal: call.signal })).code === 0;
}

async function command(zone: string, argument: string, call: PluginCall): Promise<void> {
  const result = await run('firewall-cmd', [`--zone=${zone}`, argument], { signal: call.signal });
  const message = result.stderr.toString().trim();
  if (result.code === 0 || message.includes('ZONE_ALREADY_SET')) return;
  throw new KeelsonError(
    'FAILED_PRECONDITION',
    `Cannot run "firewall-cmd --zone=${zone} ${argument}"`,
    {
      reason: message || `it ended with ${result.code ?? result.signal}`,
    },
  );
}

function sourcesOf(ips: readonly Cidr[]): string[] {
  return ips.map(({ ip }) => formatCidr({ ip, prefix: ip.length * 8 }));
}
