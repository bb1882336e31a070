import { randomInt } from 'node:crypto';
import { parseIp, sleep } from '../../../base/index.ts';
import { changeLink, type NetworkNamespace, PacketSocket } from '../../../linux/index.ts';
import { CNI_ERROR, CniError } from '../../spec/index.ts';
import { type Lease, leaseOf } from './lease.ts';
import { DHCP, type DhcpMessage, decodeReply, encodeRequest, OPTION } from './message.ts';

/** How long an answer is waited for before asking again, in milliseconds. */
const PATIENCE = [1000, 2000, 4000, 8000, 16_000, 31_000];
const POLL = 5;

/** Speaks DHCP for one interface of a container. */
export class DhcpClient {
  readonly #pod: NetworkNamespace;
  readonly #ifname: string;
  readonly #options: ReadonlyMap<number, Buffer>;

  constructor(pod: NetworkNamespace, ifname: string, options: ReadonlyMap<number, Buffer>) {
    this.#pod = pod;
    this.#ifname = ifname;
    this.#options = options;
  }

  /** Gets a lease: DISCOVER, OFFER, REQUEST, ACK. Fails when no server answers for a minute. */
  async acquire(signal: AbortSignal): Promise<Lease> {
    return await this.#withSocket(async (exchange) => {
      const transaction = randomInt(2 ** 32);
      const offer = await exchange({ type: DHCP.DISCOVER, transaction }, [DHCP.OFFER], signal);
      const server = offer.options.get(OPTION.SERVER_ID);
      const options = new Map([
        ...(offer.yourIp === undefined ? [] : [[OPTION.REQUESTED_ADDRESS, offer.yourIp] as const]),
        ...(server === undefined ? [] : [[OPTION.SERVER_ID, server] as const]),
      ]);
      const request = { type: DHCP.REQUEST, transaction, options };
      return grantedBy(await exchange(request, [DHCP.ACK, DHCP.NAK], signal));
    });
  }

  /** Asks to keep a lease. Fails when the server refuses, or none answers. */
  async renew(lease: Lease, signal: AbortSignal): Promise<Lease> {
    return await this.#withSocket(async (exchange) => {
      const transaction = randomInt(2 ** 32);
      const clientIp = parseIp(lease.address) ?? Buffer.alloc(4);
      const request = { type: DHCP.REQUEST, transaction, clientIp };
      return grantedBy(await exchange(request, [DHCP.ACK, DHCP.NAK], signal));
    });
  }

  /** Gives a lease back. Nobody answers that. */
  async release(lease: Lease): Promise<void> {
    const link = await this.#pod.findLink(this.#ifname);
    if (link?.up !== true) return;
    using socket = this.#pod.inside(() => new PacketSocket(link.index));
    const server = lease.server === undefined ? undefined : parseIp(lease.server);
    const id = this.#options.get(OPTION.CLIENT_ID);
    socket.send(
      encodeRequest({
        type: DHCP.RELEASE,
        transaction: randomInt(2 ** 32),
        mac: link.mac,
        clientIp: parseIp(lease.address) ?? Buffer.alloc(4),
        options: new Map([
          ...(server === undefined ? [] : [[OPTION.SERVER_ID, server] as const]),
          ...(id === undefined ? [] : [[OPTION.CLIENT_ID, id] as const]),
        ]),
      }),
    );
  }

  async #withSocket<T>(work: (exchange: Exchange) => Promise<T>): Promise<T> {
    const link = await this.#pod.link(this.#ifname);
    if (!link.up) await this.#pod.change(changeLink(link.index, { up: true }));
    using socket = this.#pod.inside(() => new PacketSocket(link.index));
    return await work((message, wanted, signal) => {
      const options = new Map([...this.#options, ...(message.options ?? [])]);
      // An ipvlan gets what is sent to its hardware address only if it has the IP address too.
      const broadcast = link.kind === 'ipvlan';
      return ask(socket, { ...message, mac: link.mac, broadcast, options }, wanted, signal);
    });
  }
}

type Exchange = (
  message: Omit<DhcpMessage, 'mac' | 'broadcast' | 'options'> & {
    options?: ReadonlyMap<number, Buffer>;
  },
  wanted: readonly number[],
  signal: AbortSignal,
) => Promise<DhcpMessage>;

/** Sends until an answer comes. */
async function ask(
  socket: PacketSocket,
  message: DhcpMessage,
  wanted: readonly number[],
  signal: AbortSignal,
): Promise<DhcpMessage> {
  const frame = encodeRequest(message);
  for (const patience of PATIENCE) {
    socket.send(frame);
    const until = performance.now() + patience;
    while (performance.now() < until) {
      for (let got = socket.receive(); got !== undefined; got = socket.receive()) {
        const reply = decodeReply(got);
        const ours =
          reply?.transaction === message.transaction &&
          Buffer.compare(reply.mac, message.mac) === 0;
        if (reply !== undefined && ours && wanted.includes(reply.type)) return reply;
      }
      await sleep(POLL, signal);
    }
  }
  throw new CniError(CNI_ERROR.TRY_AGAIN_LATER, 'No DHCP server answered');
}

function grantedBy(answer: DhcpMessage): Lease {
  if (answer.type === DHCP.NAK) {
    throw new CniError(CNI_ERROR.INTERNAL, 'The DHCP server refused the address');
  }
  const lease = leaseOf(answer, Date.now());
  if (lease !== undefined) return lease;
  throw new CniError(CNI_ERROR.INTERNAL, 'The DHCP server granted no lease', {
    details: 'its answer lacks the lease time or a valid subnet mask',
  });
}
