import { describe, expect, test } from 'vitest';
import { encodeAttributes, text } from './attributes.ts';
import { decodeMessages, encodeMessage, NetlinkError, NLM_F } from './messages.ts';

const request = {
  action: 'do it',
  type: 16,
  flags: NLM_F.CREATE,
  body: Buffer.from('aabbcc', 'hex'),
};

test('a message has its header, and is padded', () => {
  expect(encodeMessage(request, 7, NLM_F.ACK).toString('hex')).toBe(
    '13000000' + '1000' + '0504' + '07000000' + '00000000' + 'aabbcc00',
  );
});

/** struct nlmsghdr and a body. */
function message(type: number, flags: number, body: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(9, 8);
  return Buffer.concat([header, body, Buffer.alloc((4 - (body.length % 4)) % 4)]);
}

function errno(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32LE(value);
  return buffer;
}

describe('replies', () => {
  const echoed = encodeMessage(request, 9, 0).subarray(0, 16);

  test('an acknowledgement', () => {
    expect(decodeMessages(message(2, 0x100, Buffer.concat([errno(0), echoed])))).toEqual([
      { kind: 'ack', sequence: 9 },
    ]);
  });

  test('an error, with what the kernel says of it', () => {
    const said = encodeAttributes([text(1, 'Nexthop has invalid gateway')]);
    const [capped] = decodeMessages(message(2, 0x300, Buffer.concat([errno(-101), echoed, said])));
    const whole = Buffer.concat([errno(-101), encodeMessage(request, 9, 0), said]);
    const [uncapped] = decodeMessages(message(2, 0x200, whole));
    for (const reply of [capped, uncapped]) {
      expect(reply).toEqual({
        kind: 'error',
        sequence: 9,
        error: { errno: 101, explanation: 'Nexthop has invalid gateway' },
      });
    }
    const error = new NetlinkError('add route', {
      errno: 101,
      explanation: 'Nexthop has invalid gateway',
    });
    expect(error.message).toBe('Cannot add route: ENETUNREACH (Nexthop has invalid gateway)');
    expect(error.code).toBe('ENETUNREACH');
  });

  test('several in one datagram, the last one the end of a list that changed', () => {
    const datagram = Buffer.concat([
      message(16, NLM_F.MULTI, Buffer.from('01', 'hex')),
      message(1, 0, Buffer.alloc(0)),
      message(16, NLM_F.MULTI, Buffer.from('02', 'hex')),
      message(3, NLM_F.DUMP_INTR, errno(0)),
    ]);
    expect(decodeMessages(datagram)).toMatchObject([
      { kind: 'data', type: 16, body: Buffer.of(1) },
      { kind: 'data', type: 16, body: Buffer.of(2) },
      { kind: 'done', flags: NLM_F.DUMP_INTR, error: undefined },
    ]);
  });

  test('a list that ends with an error', () => {
    expect(decodeMessages(message(3, 0, errno(-2)))).toMatchObject([
      { kind: 'done', error: { errno: 2 } },
    ]);
  });

  test.each([
    '',
    '10000000',
    '0f0000001000000001000000000000000000',
    'ff0000001000000001000000000000000000',
  ])('senseless bytes %j are nothing', (senseless) =>
    expect(decodeMessages(Buffer.from(senseless, 'hex'))).toEqual([]),
  );
});
