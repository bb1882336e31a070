import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from 'node:zlib';

/** The dictionary as the reference gives it, not as the server has it. */
const DICTIONARY = readFileSync(new URL('spdy3-dictionary.bin', import.meta.url));

/** What came on one stream so far. */
export interface ClientStream {
  readonly id: number;
  text: string;
  bytes: number;
  replied: boolean;
  ended: boolean;
  reset: number | undefined;
}

/** A SPDY/3.1 client written from the format's description alone, knowing nothing of src. */
export class SpdyClient {
  readonly socket: Duplex;
  readonly head: string;
  readonly streams = new Map<number, ClientStream>();
  /** Payloads of PING and GOAWAY. */
  readonly pings: number[] = [];
  goaway: { last: number; status: number } | undefined;
  closed = false;
  /** Each frame as received. */
  readonly frames: Buffer[] = [];
  /** Keep the content of data, not only its size. */
  keep = true;
  /** Sees each frame that is sent. */
  onSend: (frame: Buffer) => void = () => {};
  #nextId = 1;
  #buffer = Buffer.alloc(0);
  readonly #deflate: Deflate = createDeflate({ dictionary: DICTIONARY, level: 9 });
  readonly #inflate: Inflate = createInflate({ dictionary: DICTIONARY });
  #watchers: (() => void)[] = [];
  #sent: Promise<void> = Promise.resolve();

  constructor(socket: Duplex, head: string, rest: Buffer) {
    this.socket = socket;
    this.head = head;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#inflate.destroy();
      this.#deflate.destroy();
      this.#changed();
    });
    this.#inflate.on('error', () => {});
    this.#take(rest);
  }

  /** Sends the upgrade request and reads the head of the answer. */
  static async connect(url: string, protocols: string[], method = 'POST'): Promise<SpdyClient> {
    const { hostname, port, pathname } = new URL(url);
    const socket = connect({ port: Number(port), host: hostname, noDelay: true });
    const lines = [
      `${method} ${pathname} HTTP/1.1`,
      `Host: ${hostname}`,
      'Connection: Upgrade',
      'Upgrade: SPDY/3.1',
      ...protocols.map((name) => `X-Stream-Protocol-Version: ${name}`),
    ];
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
    let buffer = Buffer.alloc(0);
    while (!buffer.includes('\r\n\r\n')) {
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      buffer = Buffer.concat([buffer, chunk]);
    }
    const end = buffer.indexOf('\r\n\r\n') + 4;
    return new SpdyClient(socket, buffer.toString('latin1', 0, end), buffer.subarray(end));
  }

  /** Opens a stream and waits for the reply or the refusal. */
  async open(headers: Record<string, string>, flags = 0): Promise<ClientStream> {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = { id, text: '', bytes: 0, replied: false, ended: false, reset: undefined };
    this.streams.set(id, stream);
    await this.sendSyn(id, headers, flags);
    await this.until(() => stream.replied || stream.reset !== undefined);
    return stream;
  }

  /** One after the other: all header blocks are one zlib stream. */
  sendSyn(id: number, headers: Record<string, string>, flags = 0): Promise<void> {
    this.#sent = this.#sent.then(async () => {
      const block = await this.compress(plainBlock(headers));
      this.control(1, Buffer.concat([u32(id), u32(0), Buffer.of(0, 0), block]), flags);
    });
    return this.#sent;
  }

  async compress(plain: Buffer): Promise<Buffer> {
    const parts: Buffer[] = [];
    const collect = (part: Buffer) => parts.push(part);
    this.#deflate.on('data', collect);
    this.#deflate.write(plain);
    await new Promise<void>((resolve) =>
      this.#deflate.flush(constants.Z_SYNC_FLUSH, () => resolve()),
    );
    this.#deflate.off('data', collect);
    return Buffer.concat(parts);
  }

  data(stream: ClientStream, content: string | Buffer, fin = false): boolean {
    const bytes = Buffer.from(content);
    const header = Buffer.alloc(8);
    header.writeUInt32BE(stream.id);
    header.writeUInt32BE(bytes.length, 4);
    header[4] = fin ? 1 : 0;
    return this.#send(Buffer.concat([header, bytes]));
  }

  control(type: number, payload: Buffer, flags = 0): void {
    const header = Buffer.alloc(8);
    header.writeUInt16BE(0x8003);
    header.writeUInt16BE(type, 2);
    header.writeUInt32BE(payload.length, 4);
    header[4] = flags;
    this.#send(Buffer.concat([header, payload]));
  }

  #send(frame: Buffer): boolean {
    this.onSend(frame);
    return this.socket.write(frame);
  }

  ping(id: number): void {
    this.control(6, u32(id));
  }

  reset(stream: ClientStream): void {
    this.control(3, Buffer.concat([u32(stream.id), u32(5)]));
  }

  /** Waits until a condition of what was received holds. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.closed) throw new Error('the connection closed too early');
      await new Promise<void>((resolve) => this.#watchers.push(resolve));
    }
  }

  async untilClosed(): Promise<void> {
    while (!this.closed) await new Promise<void>((resolve) => this.#watchers.push(resolve));
  }

  close(): void {
    this.socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    while (this.#buffer.length >= 8) {
      const size = 8 + this.#buffer.readUIntBE(5, 3);
      if (this.#buffer.length < size) break;
      this.#frame(this.#buffer.subarray(0, size));
      this.#buffer = this.#buffer.subarray(size);
    }
    this.#changed();
  }

  #frame(frame: Buffer): void {
    if (this.keep) this.frames.push(frame);
    const payload = frame.subarray(8);
    const id =
      (frame.readUInt16BE(0) & 0x8000) === 0 ? frame.readUInt32BE(0) : payload.readUInt32BE(0);
    const stream = this.streams.get(id);
    if ((frame.readUInt16BE(0) & 0x8000) === 0) {
      if (stream === undefined) return;
      stream.bytes += payload.length;
      if (this.keep) stream.text += payload.toString('latin1');
      if (frame[4] === 1) stream.ended = true;
      return;
    }
    const type = frame.readUInt16BE(2);
    if (type === 2 && stream !== undefined) {
      stream.replied = true;
      this.#inflate.write(payload.subarray(4));
    } else if (type === 3 && stream !== undefined) {
      stream.reset = payload.readUInt32BE(4);
    } else if (type === 6) {
      this.pings.push(id);
    } else if (type === 7) {
      this.goaway = { last: id, status: payload.readUInt32BE(4) };
      this.socket.end();
    }
  }

  #changed(): void {
    for (const watcher of this.#watchers.splice(0)) watcher();
  }
}

export function plainBlock(headers: Record<string, string>): Buffer {
  const pairs = Object.entries(headers);
  const strings = pairs.flat().map((text) => Buffer.from(text));
  return Buffer.concat([
    u32(pairs.length),
    ...strings.flatMap((string) => [u32(string.length), string]),
  ]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
