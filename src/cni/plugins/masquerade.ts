import { type Cidr, isV4 } from '../../base/index.ts';
import { emptyResult, type PluginCall } from '../spec/index.ts';
import { cidrOf, containerIps } from './addresses.ts';
import { chooseBackend, type FirewallBackend, type FirewallPlace } from './firewall-backend.ts';
import {
  collectMasqueradeByIptables,
  isMasqueradedByIptables,
  masqueradeByIptables,
  unmasqueradeByIptables,
} from './masquerade-iptables.ts';
import {
  collectMasqueradeByNftables,
  isMasqueradedByNftables,
  masqueradeByNftables,
  unmasqueradeByNftables,
} from './masquerade-nftables.ts';
import { checkFailed, readConfig } from './plugin-definition.ts';

/** The well-known keys `ipMasq` and `ipMasqBackend`: masquerading of what pods send outwards. */
export class Masquerade {
  readonly wanted: boolean;
  readonly #call: PluginCall;
  readonly #at: FirewallPlace;

  constructor(call: PluginCall, at: FirewallPlace) {
    this.wanted = readConfig(call).get('ipMasq')?.boolean() ?? false;
    this.#call = call;
    this.#at = at;
  }

  /** Masquerades what the addresses send outside their subnets. */
  async add(cidrs: readonly Cidr[]): Promise<void> {
    if (!this.wanted) return;
    if ((await this.#backend()) === 'iptables') await masqueradeByIptables(cidrs, this.#call);
    else await masqueradeByNftables(this.#at, cidrs, this.#call);
  }

  /** Undoes `add`, also when nothing is known of the addresses. */
  async remove(): Promise<void> {
    if (!this.wanted) return;
    const ips = containerIps(this.#call.config.prevResult ?? emptyResult(), this.#call.ifname);
    const cidrs = ips.map((ip) => cidrOf(ip.address));
    if ((await this.#backend()) === 'nftables') {
      return unmasqueradeByNftables(this.#at, cidrs, this.#call);
    }
    const onlyV4 = cidrs.length > 0 && cidrs.every(({ ip }) => isV4(ip));
    await unmasqueradeByIptables(onlyV4 ? [4] : [4, 6], this.#call);
  }

  async check(cidrs: readonly Cidr[]): Promise<void> {
    if (!this.wanted) return;
    const done =
      (await this.#backend()) === 'iptables'
        ? await isMasqueradedByIptables(cidrs, this.#call)
        : await isMasqueradedByNftables(this.#at, cidrs, this.#call);
    if (!done) throw checkFailed('the addresses are not masqueraded');
  }

  /** Forgets what is masqueraded for attachments of the network that are not valid. */
  async gc(): Promise<void> {
    if (!this.wanted) return;
    if ((await this.#backend()) === 'iptables') await collectMasqueradeByIptables(this.#call);
    else await collectMasqueradeByNftables(this.#at, this.#call);
  }

  #backend(): Promise<FirewallBackend> {
    return chooseBackend(this.#call, 'ipMasqBackend', this.#at.host);
  }
}
