import { createHash } from 'node:crypto';
import type { Cidr } from '../../base/index.ts';
import {
  addClass,
  addClasses,
  addIngressQdisc,
  addTokenBucket,
  classifyDestination,
  createLink,
  decodeClass,
  decodeQdisc,
  formatMac,
  type Link,
  listClasses,
  listQdiscs,
  type NetlinkRequest,
  NetworkNamespace,
  redirectIngress,
  type TokenBucket,
} from '../../linux/index.ts';
import {
  CNI_ERROR,
  CniError,
  type JsonReader,
  type Plugin,
  type PluginCall,
} from '../spec/index.ts';
import { readCidr } from './addresses.ts';
import {
  checkFailed,
  definePlugin,
  invalidConfig,
  readConfig,
  requirePrevResult,
} from './plugin-definition.ts';
import { openPod } from './pod-namespace.ts';
import { deleteLinkIfExists } from './veth.ts';

/** How long packets may wait in a bucket, in seconds. */
const LATENCY = 0.025;
const UINT32 = 0xffffffff;
const IFNAME_LENGTH = 15;

/** The classes where not all traffic is limited alike, by the reference's numbers. */
const UNSHAPED = 1;
const SHAPED = 48;
/** More than any link does, in bytes per second: no limit. */
const UNLIMITED = { rate: 12_500_000_000n, burst: 1_000_000 };

/** Limits per direction, as the pod sees it: ingress is what it gets. */
interface Bandwidth {
  readonly ingress: TokenBucket | undefined;
  readonly egress: TokenBucket | undefined;
  /** Left out, all traffic is limited. */
  readonly subnets: Subnets | undefined;
}

/** Destinations that alone are limited, or alone are not. */
interface Subnets {
  readonly shaped: boolean;
  readonly networks: readonly Cidr[];
}

/**
 * Limits how fast a container sends and receives. What it receives waits at the host's
 * end of its veth; what it sends is led from there to an ifb link, to wait at that.
 */
export function bandwidth(): Plugin {
  return definePlugin('bandwidth', {
    async add(call) {
      const limits = readBandwidth(call);
      const { ingress, egress, subnets } = limits;
      if (ingress === undefined && egress === undefined) {
        return call.config.prevResult ?? requirePrevResult(call);
      }
      const result = structuredClone(requirePrevResult(call));
      using host = NetworkNamespace.current();
      const veth = await hostVeth(host, call);
      if (ingress !== undefined) await host.change(...shape(veth.index, ingress, subnets));
      if (egress !== undefined) {
        const ifb = await addIfb(host, veth, ifbName(call));
        await host.change(
          ...shape(ifb.index, egress, subnets),
          addIngressQdisc(veth.index),
          redirectIngress(veth.index, ifb.index),
        );
        result.interfaces.push({ name: ifb.name, mac: formatMac(ifb.mac) });
      }
      return result;
    },

    async del(call) {
      using host = NetworkNamespace.current();
      await deleteLinkIfExists(host, ifbName(call));
    },

    async check(call) {
      const { ingress, egress, subnets } = readBandwidth(call);
      requirePrevResult(call);
      using host = NetworkNamespace.current();
      const checkShape = subnets === undefined ? checkBucket : checkClass;
      if (ingress !== undefined) await checkShape(host, await hostVeth(host, call), ingress);
      if (egress === undefined) return;
      const ifb = await host.findLink(ifbName(call));
      if (ifb === undefined) throw checkFailed(`interface "${ifbName(call)}" not found`);
      await checkShape(host, ifb, egress);
    },
  });
}

/** The limit of what leaves a link. */
function shape(link: number, bucket: TokenBucket, subnets: Subnets | undefined): NetlinkRequest[] {
  if (subnets === undefined) return [addTokenBucket(link, bucket)];
  const [minor, others] = subnets.shaped ? [SHAPED, UNSHAPED] : [UNSHAPED, SHAPED];
  return [
    addClasses(link, others),
    addClass(link, UNSHAPED, UNLIMITED),
    addClass(link, SHAPED, bucket),
    ...subnets.networks.map((network) => classifyDestination(link, network, minor)),
  ];
}

async function addIfb(host: NetworkNamespace, veth: Link, name: string): Promise<Link> {
  const { mtu, txQueueLength } = veth;
  await host.change(createLink({ name, kind: { type: 'ifb' }, mtu, txQueueLength, up: true }));
  return host.link(name);
}

/** The keys of the configuration, or else those of the capability. */
function readBandwidth(call: PluginCall): Bandwidth {
  const config = readConfig(call);
  const keys = ['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst'];
  const own = keys.some((key) => config.get(key) !== undefined);
  const reader = own ? config : config.get('runtimeConfig')?.get('bandwidth');
  return {
    ingress: readBucket(reader, 'ingress'),
    egress: readBucket(reader, 'egress'),
    subnets: readSubnets(reader) ?? readSubnets(config),
  };
}

/** Rates may be the runtime's, while the configuration says what they are for. */
function readSubnets(reader: JsonReader | undefined): Subnets | undefined {
  const [shaped = [], unshaped = []] = ['shapedSubnets', 'unshapedSubnets'].map((key) =>
    (reader?.get(key)?.items() ?? []).map(readCidr),
  );
  if (shaped.length > 0 && unshaped.length > 0) {
    throw invalidConfig('there may be shapedSubnets or unshapedSubnets, not both');
  }
  if (shaped.length > 0) return { shaped: true, networks: shaped };
  return unshaped.length > 0 ? { shaped: false, networks: unshaped } : undefined;
}

/** Rates are bits per second, bursts bits. */
function readBucket(reader: JsonReader | undefined, direction: string): TokenBucket | undefined {
  const number = (key: string) =>
    reader?.get(`${direction}${key}`)?.integer(0, Number.MAX_SAFE_INTEGER) ?? 0;
  const [rateBits, burstBits] = [number('Rate'), number('Burst')];
  if (rateBits === 0 && burstBits === 0) return undefined;
  if (burstBits === 0)
    throw invalidConfig(`if ${direction}Rate is set, ${direction}Burst must also be set`);
  if (rateBits === 0)
    throw invalidConfig(`if ${direction}Burst is set, ${direction}Rate must also be set`);
  const rate = Math.floor(rateBits / 8);
  const burst = Math.floor(burstBits / 8);
  if (burst >= UINT32) throw invalidConfig(`${direction}Burst cannot be more than 4 GiB`);
  if (rate === 0 || burst === 0)
    throw invalidConfig(`${direction}Rate and ${direction}Burst must be at least 8`);
  const limit = Math.min(UINT32, Math.floor(rate * LATENCY) + burst);
  return { rate: BigInt(rate), burst, limit };
}

/** The host's end of the container's veth. */
async function hostVeth(host: NetworkNamespace, call: PluginCall): Promise<Link> {
  using pod = openPod(call);
  const inner = await pod.findLink(call.ifname);
  if (inner?.kind !== 'veth' || inner.parent === undefined) {
    throw new CniError(CNI_ERROR.INTERNAL, `Interface "${call.ifname}" is no veth`);
  }
  const outer = await host.findLink(inner.parent);
  const named = requirePrevResult(call).interfaces.some(
    (one) => !one.sandbox && one.name === outer?.name,
  );
  if (outer?.kind !== 'veth' || !named) {
    throw new CniError(CNI_ERROR.INTERNAL, `The host has no peer of interface "${call.ifname}"`);
  }
  return outer;
}

function ifbName(call: PluginCall): string {
  const hash = createHash('sha512').update(`${call.config.name}${call.containerId}`).digest('hex');
  return `bwp${hash}`.slice(0, IFNAME_LENGTH);
}

async function checkBucket(
  host: NetworkNamespace,
  link: Link,
  expected: TokenBucket,
): Promise<void> {
  const qdiscs = await host.route.dump(listQdiscs(), ({ body }) => decodeQdisc(body));
  const found = qdiscs.find((qdisc) => qdisc.link === link.index && qdisc.kind === 'tbf');
  const bucket = found?.tokenBucket;
  if (bucket?.rate !== expected.rate || bucket.limit !== expected.limit) {
    throw checkFailed(`"${link.name}" is not limited to ${expected.rate} bytes per second`);
  }
}

async function checkClass(
  host: NetworkNamespace,
  link: Link,
  expected: TokenBucket,
): Promise<void> {
  const classes = await host.route.dump(listClasses(link.index), ({ body }) => decodeClass(body));
  const found = classes.find(({ kind, minor }) => kind === 'htb' && minor === SHAPED);
  if (found?.rate !== expected.rate) {
    throw checkFailed(`"${link.name}" has no class of ${expected.rate} bytes per second`);
  }
}
