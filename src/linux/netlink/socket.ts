import { close } from 'node:fs';
import { KeelsonError } from '../../base/index.ts';
import { inThreadPool, raw, syscall } from '../ffi.ts';
import { be32, encodeAttributes } from './attributes.ts';
import {
  decodeMessages,
  encodeMessage,
  NetlinkError,
  NLM_F,
  type Reply,
  type Request,
} from './messages.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 0x80003;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
/** Of nfnetlink: what brackets a transaction, and the subsystem that it is for. */
const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
const BATCH_GENERATION = 1;
const NFTABLES_SUBSYSTEM = 10;
const RECEIVE_SIZE = 1 << 16;
const RECEIVE_BUFFER = 4 << 20;
/** Milliseconds until a netfilter socket that is done with is closed. */
const NETFILTER_LINGER = 1000;
/** A dump that changes while it is read is read again so often. */
const DUMP_ATTEMPTS = 10;

/** Netlink families, from linux/netlink.h. */
export const NETLINK = { ROUTE: 0, NETFILTER: 12 } as const;

type Data = Extract<Reply, { kind: 'data' }>;

/**
 * A netlink socket of the network namespace that the thread is in when it is made. It
 * stays in that namespace, whichever thread uses it later.
 *
 * The kernel carries a request out while it is being sent, which may wait for its network
 * lock or for a device to go away (tens of milliseconds): `change` and `dump` therefore
 * send from a thread of Node's pool. Answers are there when sending returns. Use one
 * socket for one operation after the other, not at the same time.
 */
export class NetlinkSocket implements Disposable {
  readonly #fd: number;
  readonly #family: number;
  readonly #buffer = Buffer.allocUnsafeSlow(RECEIVE_SIZE);
  #sequence = 0;
  #closed = false;

  constructor(family: number) {
    this.#family = family;
    this.#fd = syscall('open netlink socket', () =>
      raw.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, family),
    );
    try {
      this.#configure();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #configure(): void {
    const address = Buffer.alloc(12);
    address.writeUInt16LE(AF_NETLINK);
    syscall('bind netlink socket', () => raw.bind(this.#fd, address, address.length));
    const option = (level: number, name: number, value: Buffer) =>
      raw.setsockopt(this.#fd, level, name, value, value.length);
    const on = int32(1);
    // Refused by kernels that lack them, which is fine: answers only say less.
    option(SOL_NETLINK, NETLINK_CAP_ACK, on);
    option(SOL_NETLINK, NETLINK_EXT_ACK, on);
    option(SOL_NETLINK, NETLINK_GET_STRICT_CHK, on);
    option(SOL_SOCKET, SO_RCVBUFFORCE, int32(RECEIVE_BUFFER));
    const tenSeconds = Buffer.alloc(16);
    tenSeconds.writeBigInt64LE(10n);
    syscall('set netlink receive timeout', () => option(SOL_SOCKET, SO_RCVTIMEO, tenSeconds));
  }

  /**
   * Carries out requests in order, all sent at once. Throws NetlinkError for the first
   * that the kernel refused; the kernel has tried the later ones all the same.
   */
  async change(...requests: Request[]): Promise<void> {
    if (requests.length === 0) return;
    const first = this.#next(requests.length);
    await this.#send(
      Buffer.concat(requests.map((request, i) => encodeMessage(request, first + i, NLM_F.ACK))),
    );
    let failure: NetlinkError | undefined;
    const pending = new Map(requests.map((request, i) => [first + i, request]));
    this.#receive((reply) => {
      const request = pending.get(reply.sequence);
      if (request === undefined || reply.kind === 'data') return false;
      pending.delete(reply.sequence);
      if (reply.kind === 'error') failure ??= refused(request, reply);
      return pending.size === 0;
    });
    if (failure !== undefined) throw failure;
  }

  /**
   * Commits a change of the nftables rule set: all requests or none. With `generation`
   * only if the rule set is still of that generation; otherwise fails with ERESTART.
   */
  async commit(requests: Request[], generation?: number): Promise<void> {
    const first = this.#next(requests.length + 2);
    const begin = { action: 'change the nftables rule set', type: BATCH_BEGIN, flags: 0 };
    const body = Buffer.of(0, 0, 0, NFTABLES_SUBSYSTEM);
    const check = generation === undefined ? [] : [be32(BATCH_GENERATION, generation)];
    await this.#send(
      Buffer.concat([
        encodeMessage({ ...begin, body: Buffer.concat([body, encodeAttributes(check)]) }, first, 0),
        ...requests.map((request, i) => encodeMessage(request, first + 1 + i, NLM_F.ACK)),
        encodeMessage({ ...begin, type: BATCH_END, body }, first + requests.length + 1, 0),
      ]),
    );
    const pending = new Map(requests.map((request, i) => [first + 1 + i, request]));
    let failure: NetlinkError | undefined;
    this.#receive((reply) => {
      if (reply.kind === 'error' && reply.sequence === first) {
        failure = new NetlinkError(begin.action, reply.error);
        return true;
      }
      const request = pending.get(reply.sequence);
      if (request === undefined || reply.kind === 'data') return false;
      pending.delete(reply.sequence);
      if (reply.kind === 'error') failure ??= new NetlinkError(request.action, reply.error);
      return pending.size === 0;
    });
    if (failure !== undefined) throw failure;
  }

  /** Asks for one object. Throws NetlinkError (ENODEV, ENOENT, …) when it is not there. */
  async get(request: Request): Promise<Data> {
    const sequence = this.#next(1);
    await this.#send(encodeMessage(request, sequence, NLM_F.ACK));
    let data: Data | undefined;
    let failure: NetlinkError | undefined;
    this.#receive((reply) => {
      if (reply.sequence !== sequence) return false;
      if (reply.kind === 'data') data ??= { ...reply, body: Buffer.from(reply.body) };
      if (reply.kind === 'error') failure = new NetlinkError(request.action, reply.error);
      return reply.kind !== 'data';
    });
    if (failure !== undefined) throw failure;
    if (data === undefined) {
      throw new KeelsonError('INTERNAL', `Cannot ${request.action}`, {
        reason: 'the kernel acknowledged without answering',
      });
    }
    return data;
  }

  /** Lists objects; a list that changed while it was read is read again. */
  async dump<T>(request: Request, decode: (data: Data) => T | undefined): Promise<T[]> {
    for (let attempt = 1; ; attempt++) {
      const { found, interrupted } = await this.#dumpOnce(request, decode);
      if (!interrupted) return found;
      if (attempt === DUMP_ATTEMPTS) {
        throw new KeelsonError('ABORTED', `Cannot ${request.action}`, {
          reason: `the list changed ${attempt} times while it was read`,
        });
      }
    }
  }

  async #dumpOnce<T>(request: Request, decode: (data: Data) => T | undefined) {
    const sequence = this.#next(1);
    await this.#send(encodeMessage(request, sequence, NLM_F.DUMP));
    const found: T[] = [];
    let interrupted = false;
    let failure: NetlinkError | undefined;
    this.#receive((reply) => {
      if (reply.sequence !== sequence) return false;
      if (reply.kind === 'data') {
        const value = decode(reply);
        if (value !== undefined) found.push(value);
      }
      if (reply.kind === 'data' || reply.kind === 'done') {
        interrupted ||= (reply.flags & NLM_F.DUMP_INTR) !== 0;
      }
      if ((reply.kind === 'error' || reply.kind === 'done') && reply.error !== undefined) {
        // A netfilter dump of which the rule set changed ends with EINTR instead of the flag.
        if (reply.error.errno === 4) interrupted = true;
        else failure = new NetlinkError(request.action, reply.error);
      }
      return reply.kind !== 'data';
    });
    if (failure !== undefined && !isTolerated(request, failure)) throw failure;
    return { found, interrupted };
  }

  /**
   * Closes the socket. Closing a netfilter one waits until the kernel has tidied up what
   * was deleted last, and makes it hurry: so it is put off until there is nothing to do.
   */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    const closeNow = () => close(this.#fd, () => {});
    if (this.#family === NETLINK.NETFILTER) setTimeout(closeNow, NETFILTER_LINGER).unref();
    else closeNow();
  }

  #next(count: number): number {
    const first = this.#sequence + 1;
    this.#sequence += count;
    return first;
  }

  async #send(datagram: Buffer): Promise<void> {
    const sent = await inThreadPool<number>((settle) =>
      raw.send.async(this.#fd, datagram, datagram.length, 0, settle),
    );
    if (Number(sent) === datagram.length) return;
    throw new KeelsonError('UNAVAILABLE', 'Cannot send to the kernel over netlink');
  }

  /** Hands replies to `accept` until it says that it has all. */
  #receive(accept: (reply: Reply) => boolean): void {
    for (;;) {
      const size = syscall('receive from netlink', () =>
        raw.recv(this.#fd, this.#buffer, this.#buffer.length, 0),
      );
      let complete = false;
      for (const reply of decodeMessages(this.#buffer.subarray(0, size))) {
        complete = accept(reply) || complete;
      }
      if (complete) return;
    }
  }
}

function refused(request: Request, reply: Extract<Reply, { kind: 'error' }>) {
  const error = new NetlinkError(request.action, reply.error);
  return isTolerated(request, error) ? undefined : error;
}

function isTolerated(request: Request, error: NetlinkError): boolean {
  return request.tolerate?.includes(error.code) ?? false;
}

function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32LE(value);
  return buffer;
}
