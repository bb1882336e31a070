import { isV4 } from '../../base/index.ts';
import type { NetworkNamespace } from '../../linux/index.ts';

/** Lets the host forward packets of the families that the addresses are of. */
export function enableForwarding(host: NetworkNamespace, ips: readonly Uint8Array[]): void {
  const sysctls = new Set(
    ips.map((ip) => (isV4(ip) ? 'net/ipv4/ip_forward' : 'net/ipv6/conf/all/forwarding')),
  );
  for (const sysctl of sysctls) {
    // Writing it, even unchanged, resets settings that depend on it.
    if (host.readSysctl(sysctl) !== '1') host.writeSysctls({ [sysctl]: '1' });
  }
}
