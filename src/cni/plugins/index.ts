import { KeyedLock } from '../../base/index.ts';
import type { Plugin } from '../spec/index.ts';
import { bandwidth } from './bandwidth.ts';
import { bridge } from './bridge/bridge.ts';
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

/** The built-in plugins: a fresh list, which shares nothing with another one. */
export function builtinPlugins(): Plugin[] {
  const turns = new KeyedLock();
  return [
    bandwidth(),
    bridge(turns),
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
