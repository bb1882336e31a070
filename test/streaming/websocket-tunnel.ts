import { once } from 'node:events';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

const BINARY = 0x82;
const CLOSE = 0x88;
const MASKED = 0x80;

/**
 * A byte stream inside of binary WebSocket messages, from the client's side (RFC 6455). ws
 * cannot stand in: it refuses the slash in the name of the protocol.
 */
export async function openTunnel(url: string, protocol: string): Promise<Duplex> {
  const upgrade = request(url, {
    agent: false,
    headers: {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': Buffer.alloc(16, 'k').toString('base64'),
      'Sec-WebSocket-Protocol': protocol,
    },
  });
  upgrade.end();
  const [response, socket, head] = await once(upgrade, 'upgrade');
  const chosen = response.headers['sec-websocket-protocol'];
  if (chosen !== protocol) throw new Error(`the server chose ${chosen}`);
  return tunnelOver(socket, head);
}

function tunnelOver(socket: Socket, head: Buffer): Duplex {
  let buffer = head;
  const tunnel = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      socket.write(message(BINARY, chunk), done);
    },
    final(done) {
      socket.write(message(CLOSE, Buffer.of(3, 232)), done);
    },
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  const take = (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk]);
    for (let frame = cut(buffer); frame !== undefined; frame = cut(buffer)) {
      buffer = frame.rest;
      tunnel.push(frame.opcode === CLOSE ? null : frame.payload);
    }
  };
  socket.on('data', take);
  socket.on('error', () => {});
  socket.on('close', () => tunnel.destroy());
  take(Buffer.alloc(0));
  return tunnel;
}

/** Masked with zeros, which changes nothing. */
function message(opcode: number, payload: Buffer): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(payload.length));
  const head = Buffer.from([opcode, MASKED | 127, ...length, 0, 0, 0, 0]);
  return Buffer.concat([head, payload]);
}

function cut(buffer: Buffer): { opcode: number; payload: Buffer; rest: Buffer } | undefined {
  const short = buffer[1] ?? 255;
  const start = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (buffer.length < start) return undefined;
  const length =
    short < 126 ? short : short === 126 ? buffer.readUInt16BE(2) : buffer.readUIntBE(4, 6);
  if (buffer.length < start + length) return undefined;
  const end = start + length;
  return { opcode: buffer[0]!, payload: buffer.subarray(start, end), rest: buffer.subarray(end) };
}
