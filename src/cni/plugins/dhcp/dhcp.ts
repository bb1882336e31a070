import { type CniResult, emptyResult, type Plugin, type PluginCall } from '../../spec/index.ts';
import { checkFailed, definePlugin } from '../plugin-definition.ts';
import { openPod } from '../pod-namespace.ts';
import { DhcpClient } from './client.ts';
import { LeaseKeeper, type LeaseRecord } from './lease-keeper.ts';
import { readOptions, readPriority } from './options.ts';

/** Where records of leases are when nothing else is said. */
const DEFAULT_DIRECTORY = '/run/keelson/dhcp';

/**
 * IPAM that gets addresses from a DHCP server, and keeps them as long as this process
 * lives. It needs no other daemon: `daemonSocketPath` of the reference means nothing here.
 */
export function dhcp(directory: string = DEFAULT_DIRECTORY): Plugin {
  const keeper = new LeaseKeeper(directory);
  return definePlugin('dhcp', {
    async add(call) {
      const options = readOptions(call);
      const priority = readPriority(call);
      await keeper.adopt();
      const owner = ownerOf(call);
      let record = keeper.find(owner);
      if (record === undefined) {
        using pod = openPod(call);
        const lease = await new DhcpClient(pod, call.ifname, options).acquire(call.signal);
        const plain = [...options].map(([code, value]) => [code, value.toString('hex')] as const);
        record = { ...owner, netns: call.netns, options: plain, lease };
        await keeper.keep(record);
      }
      return resultOf(record, priority);
    },

    async del(call) {
      await keeper.adopt();
      const record = keeper.find(ownerOf(call));
      if (record !== undefined) await keeper.drop(record);
    },

    async check(call) {
      await keeper.adopt();
      const record = keeper.find(ownerOf(call));
      if (record === undefined || record.lease.expireAt < Date.now()) {
        throw checkFailed(`container "${call.containerId}" has no DHCP lease`);
      }
    },

    async gc(call) {
      await keeper.adopt();
      const valid = call.config['cni.dev/valid-attachments'] ?? [];
      const lost = keeper
        .all()
        .filter(({ network }) => network === call.config.name)
        .filter(
          (record) =>
            !valid.some(
              ({ containerID, ifname }) =>
                containerID === record.containerId && ifname === record.ifname,
            ),
        );
      for (const record of lost) await keeper.drop(record);
    },

    resume: () => keeper.adopt(),
  });
}

function ownerOf(call: PluginCall) {
  return { network: call.config.name, containerId: call.containerId, ifname: call.ifname };
}

function resultOf({ lease }: LeaseRecord, priority: number | undefined): CniResult {
  const { address, prefix, gateway } = lease;
  return {
    ...emptyResult(),
    ips: [{ address: `${address}/${prefix}`, ...(gateway === undefined ? {} : { gateway }) }],
    routes: lease.routes.map((route) => ({
      ...route,
      ...(priority === undefined ? {} : { priority }),
    })),
  };
}
