import { text } from 'node:stream/consumers';
import { finished } from 'node:stream/promises';
import { expect, test } from 'vitest';
import { type ChannelCarrier, ChannelStream } from './channel-stream.ts';
import { InboundBudget } from './inbound-budget.ts';

/** A carrier that takes pieces when told to. */
class Carrier implements ChannelCarrier {
  readonly sent: number[] = [];
  readonly waiting: (() => void)[] = [];
  ended = false;
  closedWith: unknown;

  send(piece: Buffer, done: () => void): void {
    this.sent.push(piece.length);
    this.waiting.push(done);
  }

  sendEnd(done: () => void): void {
    this.ended = true;
    done();
  }

  closed(ended: { inbound: boolean; outbound: boolean }): void {
    this.closedWith = ended;
  }

  takeAll(): void {
    for (let done = this.waiting.shift(); done !== undefined; done = this.waiting.shift()) done();
  }
}

function open(limit = 1000) {
  const carrier = new Carrier();
  const budget = new InboundBudget(limit);
  return { carrier, budget, stream: new ChannelStream(carrier, budget) };
}

test('large chunks go out in pieces, each when the one before was taken', async () => {
  const { carrier, stream } = open();
  expect(stream.write(Buffer.alloc(80 * 1024))).toBe(false);
  expect(carrier.sent).toEqual([32 * 1024]);
  carrier.takeAll();
  expect(carrier.sent).toEqual([32 * 1024, 32 * 1024, 16 * 1024]);
  stream.end();
  await finished(stream, { readable: false });
  expect(carrier.ended).toBe(true);
});

test('what was received and not read counts, and is given back when read', async () => {
  const { budget, stream } = open();
  stream.receive(Buffer.alloc(900));
  expect(budget.full).toBe(true);
  const room = budget.room();
  stream.receiveEnd();
  stream.receive(Buffer.from('after the end'));
  expect((await text(stream)).length).toBe(900);
  await room;
  expect(budget.full).toBe(false);
});

test('destroying gives all back', async () => {
  const { budget, carrier, stream } = open();
  for (let i = 0; i < 10; i++) stream.receive(Buffer.alloc(500));
  const room = budget.room();
  stream.destroy(new Error('gone'));
  await room;
  stream.receive(Buffer.alloc(5000));
  expect(budget.full).toBe(false);
  expect(carrier.closedWith).toEqual({ inbound: false, outbound: false });
});

test('tiny chunks count for more than their bytes', () => {
  const { budget, stream } = open(10_000);
  for (let i = 0; i < 100; i++) stream.receive(Buffer.alloc(1));
  expect(budget.full).toBe(true);
});

test('small chunks do not keep the memory that they came in', async () => {
  const { stream } = open();
  const large = Buffer.alloc(65536);
  stream.receive(large.subarray(0, 10));
  const [chunk] = await stream.take(1).toArray();
  expect((chunk as Buffer).buffer.byteLength).toBe(10);
});
