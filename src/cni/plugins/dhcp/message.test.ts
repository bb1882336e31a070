import { expect, test } from 'vitest';
import { parseIp } from '../../../base/index.ts';
import { leaseOf } from './lease.ts';
import { DHCP, type DhcpMessage, decodeReply, encodeRequest, OPTION } from './message.ts';

const mac = Buffer.from('020000000001', 'hex');

test('a request is a frame that goes to everybody', () => {
  const frame = encodeRequest({
    type: DHCP.DISCOVER,
    transaction: 0x01020304,
    mac,
    options: new Map([[OPTION.CLIENT_ID, Buffer.from('00616263', 'hex')]]),
  });
  expect(frame.subarray(0, 14).toString('hex')).toBe('ffffffffffff0200000000010800');
  expect(frame.subarray(14, 34).toString('hex')).toBe(
    '45000148000000004011' + '79a6' + '00000000ffffffff',
  );
  expect(frame.subarray(34, 42).toString('hex')).toBe('00440043' + '0134' + '0000');
  const bootp = frame.subarray(42);
  expect(bootp).toHaveLength(300);
  expect(bootp.subarray(0, 12).toString('hex')).toBe('01010600' + '01020304' + '00000000');
  expect(bootp.subarray(236, 250).toString('hex')).toBe(
    '63825363' + '350101' + '3d0400616263' + 'ff',
  );
});

/** A server's answer in a frame, made from a request. */
function reply(options: string): Buffer {
  const frame = encodeRequest({ type: DHCP.DISCOVER, transaction: 7, mac, options: new Map() });
  const answer = Buffer.concat([frame.subarray(0, 42 + 240), Buffer.from(options, 'hex')]);
  answer.writeUInt16BE(68, 36);
  answer.writeUInt8(2, 42);
  answer.set([10, 0, 0, 5], 42 + 16);
  return answer;
}

test('an answer is decoded, options of several parts are put together', () => {
  const message = decodeReply(
    reply('00350105' + '0104ffffff00' + '0c02' + '6162' + '0c01' + '63' + 'ff99'),
  );
  expect(message).toMatchObject({ type: DHCP.ACK, transaction: 7 });
  expect(message?.yourIp?.join('.')).toBe('10.0.0.5');
  expect(message?.options.get(12)?.toString()).toBe('abc');
});

test.each([
  ['empty', Buffer.alloc(0)],
  ['short', reply('').subarray(0, 100)],
  ['not UDP', Buffer.from(reply('ff')).fill(6, 23, 24)],
  ['for another port', Buffer.from(reply('ff')).fill(0, 36, 38)],
  ['a request', Buffer.from(reply('ff')).fill(1, 42, 43)],
  ['without the magic number', Buffer.from(reply('ff')).fill(0, 42 + 236, 42 + 240)],
])('a frame that is %s is no answer', (_, frame) => {
  expect(decodeReply(frame)).toBeUndefined();
});

test('an option that is cut ends the options', () => {
  expect([...(decodeReply(reply('3501050c09aabb'))?.options.keys() ?? [])]).toEqual([53]);
});

function ack(options: readonly (readonly [number, string])[]): DhcpMessage {
  return {
    type: DHCP.ACK,
    transaction: 1,
    mac,
    yourIp: parseIp('10.0.0.5')!,
    options: new Map(options.map(([code, hex]) => [code, Buffer.from(hex, 'hex')])),
  };
}

const plain = [
  [OPTION.SUBNET_MASK, 'ffffff00'],
  [OPTION.LEASE_TIME, '00000e10'],
  [OPTION.ROUTER, '0a0000010a000002'],
  [OPTION.SERVER_ID, '0a000001'],
] as const;

test('a lease with the times of RFC 2131', () => {
  expect(leaseOf(ack(plain), 1000)).toEqual({
    address: '10.0.0.5',
    prefix: 24,
    gateway: '10.0.0.1',
    routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }],
    server: '10.0.0.1',
    renewAt: 1000 + 1800_000,
    rebindAt: 1000 + 3060_000,
    expireAt: 1000 + 3600_000,
  });
});

test('times that the server says, unless they make no sense', () => {
  const said = leaseOf(
    ack([...plain, [OPTION.RENEWAL_TIME, '00000064'], [OPTION.REBINDING_TIME, '000000c8']]),
    0,
  );
  expect([said?.renewAt, said?.rebindAt]).toEqual([100_000, 200_000]);
  const odd = leaseOf(
    ack([...plain, [OPTION.RENEWAL_TIME, 'ffffffff'], [OPTION.REBINDING_TIME, 'ffffffff']]),
    0,
  );
  expect([odd?.renewAt, odd?.rebindAt]).toEqual([1800_000, 3060_000]);
});

test('a lease for ever, and one that does not say how long', () => {
  const [mask, , ...others] = plain;
  const forEver = leaseOf(ack([mask, [OPTION.LEASE_TIME, 'ffffffff'], ...others]), 0);
  expect(forEver?.expireAt).toBe((2 ** 32 - 1) * 1000);
  expect(leaseOf(ack([mask, ...others]), 0)?.expireAt).toBe(3600_000);
});

test('static routes stand beside the router, classless ones in place of both', () => {
  const static33 = [OPTION.STATIC_ROUTES, '0b0000000a000007' + 'c00002000a000008'] as const;
  expect(leaseOf(ack([...plain, static33]), 0)?.routes).toEqual([
    { dst: '11.0.0.0/8', gw: '10.0.0.7' },
    { dst: '192.0.2.0/24', gw: '10.0.0.8' },
    { dst: '0.0.0.0/0', gw: '10.0.0.1' },
  ]);
  const classless = [
    OPTION.CLASSLESS_ROUTES,
    '000a000009' + '19c00002800a000008' + '100a0900000000',
  ] as const;
  expect(leaseOf(ack([...plain, static33, classless]), 0)?.routes).toEqual([
    { dst: '0.0.0.0/0', gw: '10.0.0.9' },
    { dst: '192.0.2.128/25', gw: '10.0.0.8' },
    { dst: '10.9.0.0/16', scope: 253 },
  ]);
});

test.each([
  ['mask', [[OPTION.LEASE_TIME, '00000e10']]],
  [
    'valid mask',
    [
      [OPTION.LEASE_TIME, '00000e10'],
      [OPTION.SUBNET_MASK, 'ff00ff00'],
    ],
  ],
] as const)('without a %s there is no lease', (_, options) => {
  expect(leaseOf(ack(options), 0)).toBeUndefined();
});
