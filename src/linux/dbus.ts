import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { KeelsonError } from '../base/index.ts';
import { type BusReply, decodeReply, encodeCall, type MethodCall, sizeOf } from './dbus-message.ts';

export type { BusReply, MethodCall };

const DEFAULT_ADDRESS = 'unix:path=/var/run/dbus/system_bus_socket';
const BUS = 'org.freedesktop.DBus';
/** Longest greeting, and longest message that is read: answers here are short. */
const LARGEST = 1024 * 1024;

/**
 * The message bus of the system, as DBUS_SYSTEM_BUS_ADDRESS or the D-Bus specification names
 * it, for calling methods one after the other.
 */
export class SystemBus implements Disposable {
  readonly #socket: Socket;
  readonly #chunks: AsyncIterator<Buffer>;
  #received: Buffer = Buffer.alloc(0);
  #serial = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#chunks = socket[Symbol.asyncIterator]();
  }

  /** Connects and says hello. Fails with the error of connect(2) when there is no bus. */
  static async connect(signal: AbortSignal): Promise<SystemBus> {
    const socket = connect({ path: socketPath(), signal });
    const bus = new SystemBus(socket);
    try {
      await once(socket, 'connect', { signal });
      const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex');
      socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
      const greeting = await bus.#line();
      if (!greeting.startsWith('OK ')) {
        throw new KeelsonError('PERMISSION_DENIED', 'Cannot use the system bus', {
          reason: `it answered ${JSON.stringify(greeting)}`,
        });
      }
      socket.write('BEGIN\r\n');
      await bus.call({ destination: BUS, path: '/', interface: BUS, member: 'Hello', args: [] });
      return bus;
    } catch (error) {
      bus[Symbol.dispose]();
      signal.throwIfAborted();
      throw error;
    }
  }

  /** Whether a service of that name runs. Does not start it. */
  async has(name: string): Promise<boolean> {
    const call = { destination: BUS, path: '/', interface: BUS, member: 'NameHasOwner' };
    return (await this.call({ ...call, args: [name] })).values[0] === true;
  }

  /** Calls a method with strings. An error of the service is an answer too. */
  async call(call: MethodCall): Promise<BusReply> {
    const serial = ++this.#serial;
    this.#socket.write(encodeCall(call, serial));
    for (;;) {
      const reply = decodeReply(await this.#message());
      // Signals come in between.
      if (reply?.replyTo === serial) return reply;
    }
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#received.indexOf('\r\n');
      if (end >= 0) return this.#take(end + 2).toString('utf8', 0, end);
      await this.#more();
    }
  }

  async #message(): Promise<Buffer> {
    for (;;) {
      const size = sizeOf(this.#received);
      if (size !== undefined && this.#received.length >= size) return this.#take(size);
      await this.#more();
    }
  }

  #take(size: number): Buffer {
    const taken = this.#received.subarray(0, size);
    this.#received = this.#received.subarray(size);
    return taken;
  }

  async #more(): Promise<void> {
    const next = await this.#chunks.next();
    if (next.done) throw broken('it hung up');
    this.#received = Buffer.concat([this.#received, next.value]);
    if (this.#received.length > LARGEST) throw broken('it says more than anyone reads');
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

function broken(reason: string): KeelsonError {
  return new KeelsonError('UNAVAILABLE', 'Cannot use the system bus', { reason });
}

/** The first Unix socket of the address. */
function socketPath(): string {
  const address = process.env['DBUS_SYSTEM_BUS_ADDRESS'] || DEFAULT_ADDRESS;
  for (const one of address.split(';')) {
    const [, kind, value = ''] = /^unix:(?:.*,)?(path|abstract)=([^,]+)/.exec(one) ?? [];
    if (kind !== undefined) {
      return `${kind === 'abstract' ? '\0' : ''}${decodeURIComponent(value)}`;
    }
  }
  throw new KeelsonError('INVALID_ARGUMENT', 'Cannot find the system bus', {
    reason: `DBUS_SYSTEM_BUS_ADDRESS ${JSON.stringify(address)} names no Unix socket`,
  });
}
