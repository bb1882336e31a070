import { KeyedLock } from '../../base/index.ts';
import type { Plugin } from '../spec/index.ts';
import { bandwidth } from './bandwidth.ts';
import { bridge } from './bridge/bridge.ts';
import { dhcp } from './dhcp/dhcp.ts';
import { dummy } from './dummy.ts';
import { firewall } from './firewall/firewall.ts';
import { flannel } from './flannel.ts';
import { hostDevice } from './host-device.ts';
import { hostLocal } from './host-local/host-local.ts';
import { ipvlan } from './ipvlan.ts';
import { loopback } from './loopback.ts';
import { macvlan } from './macvlan.ts';
import { portmap } from './portmap/portmap.ts';
import { ptp } from './ptp.ts';
import { sbr } from './sbr.ts';
import { staticIpam } from './static.ts';
import { tap } from './tap.ts';
import { tuning } from './tuning.ts';
import { vlan } from './vlan.ts';
import { vrf } from './vrf.ts';

export interface BuiltinOptions {
  /** Where leases of the dhcp plugin are recorded. Default: `/run/keelson/dhcp`. */
  dhcpDirectory?: string;
}

/**
 * The built-in plugins: a fresh list, which shares nothing with another one. Keep it as
 * long as the process lives: dhcp renews leases in the background, and goes on with those
 * of an earlier process at its first call, for example STATUS.
 */
export function builtinPlugins(options: BuiltinOptions = {}): Plugin[] {
  const turns = new KeyedLock();
  return [
    bandwidth(),
    bridge(turns),
    dhcp(options.dhcpDirectory),
    dummy(),
    firewall(),
    flannel(),
    hostDevice(),
    hostLocal(),
    ipvlan(),
    loopback(),
    macvlan(),
    portmap(turns),
    ptp(turns),
    sbr(),
    staticIpam(),
    tap(),
    tuning(),
    vlan(),
    vrf(),
  ];
}
