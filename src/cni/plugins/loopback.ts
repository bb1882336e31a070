import { formatCidr, isV4 } from '../../base/index.ts';
import { changeLink } from '../../linux/index.ts';
import { emptyResult, type Plugin } from '../spec/index.ts';
import { checkFailed, definePlugin } from './plugin-definition.ts';
import { openPod, openPodIfExists } from './pod-namespace.ts';

const LOOPBACK = 'lo';

/** Sets the container's loopback interface up, whatever CNI_IFNAME says. */
export function loopback(): Plugin {
  return definePlugin('loopback', {
    async add(call) {
      using pod = openPod(call);
      const link = await pod.link(LOOPBACK);
      await pod.change(changeLink(link.index, { up: true }));
      if (call.config.prevResult !== undefined) return call.config.prevResult;
      const addresses = (await pod.addresses(link.index)).map(({ cidr }) => cidr);
      const first = [
        addresses.find(({ ip }) => isV4(ip)),
        addresses.find(({ ip }) => !isV4(ip)),
      ].filter((cidr) => cidr !== undefined);
      return {
        ...emptyResult(),
        interfaces: [{ name: LOOPBACK, mac: '00:00:00:00:00:00', sandbox: call.netns }],
        ips: first.map((cidr) => ({ address: formatCidr(cidr), interface: 0 })),
      };
    },

    async del(call) {
      using pod = openPodIfExists(call);
      if (pod === undefined) return;
      const link = await pod.link(LOOPBACK);
      await pod.change(changeLink(link.index, { up: false }));
    },

    async check(call) {
      using pod = openPod(call);
      if (!(await pod.link(LOOPBACK)).up) throw checkFailed('the loopback interface is down');
    },
  });
}
