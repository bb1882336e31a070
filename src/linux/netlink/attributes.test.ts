import { describe, expect, test } from 'vitest';
import {
  AttributeMap,
  be16,
  be32,
  be64,
  bytes,
  encodeAttributes,
  flag,
  listAttributes,
  nested,
  text,
  u8,
  u16,
  u32,
  u64,
  unmarkedNested,
} from './attributes.ts';

const hex = (...attributes: Parameters<typeof encodeAttributes>[0]) =>
  encodeAttributes(attributes).toString('hex');

describe('encoding', () => {
  test.each([
    ['u8, padded', u8(1, 0xab), '05000100ab000000'],
    ['u16', u16(2, 0x1234), '0600020034120000'],
    ['u32', u32(3, 0x12345678), '0800030078563412'],
    ['u32 of a negative number', u32(3, -1), '08000300ffffffff'],
    ['u64', u64(4, 0x0102030405060708n), '0c0004000807060504030201'],
    ['network order', be16(5, 0x1234), '0600050012340000'],
    ['network order', be32(5, 0x12345678), '0800050012345678'],
    ['network order', be64(5, 0x0102030405060708n), '0c0005000102030405060708'],
    ['text with NUL', text(6, 'eth0'), '090006006574683000000000'],
    ['a flag', flag(7), '04000700'],
    ['bytes', bytes(8, Buffer.from('010203', 'hex')), '0700080001020300'],
    ['nested, marked', nested(9, [u8(1, 2)]), '0c0009800500010002000000'],
    ['nested, unmarked', unmarkedNested(9, [u8(1, 2)]), '0c0009000500010002000000'],
    ['nothing nested', nested(9, []), '04000980'],
  ])('%s', (_, attribute, expected) => expect(hex(attribute)).toBe(expected));

  test('several are laid out one after the other, aligned', () => {
    expect(hex(u8(1, 1), u8(2, 2))).toBe('05000100010000000500020002000000');
  });
});

describe('decoding', () => {
  test('undoes encoding', () => {
    const map = new AttributeMap(
      encodeAttributes([
        u8(1, 1),
        u16(2, 2),
        u32(3, 3),
        be16(4, 4),
        be32(5, 5),
        be64(6, 6n),
        text(7, 'seven'),
        nested(8, [u8(1, 8)]),
      ]),
    );
    expect([map.u8(1), map.u16(2), map.u32(3), map.be16(4), map.be32(5), map.be64(6)]).toEqual([
      1,
      2,
      3,
      4,
      5,
      6n,
    ]);
    expect(map.text(7)).toBe('seven');
    expect(map.nested(8)?.u8(1)).toBe(8);
    expect(map.has(9)).toBe(false);
    expect(map.u32(9)).toBeUndefined();
  });

  test('a number that is cut short is not there', () => {
    expect(new AttributeMap(encodeAttributes([u16(1, 1)])).u32(1)).toBeUndefined();
  });

  test('text without NUL is whole', () => {
    expect(new AttributeMap(encodeAttributes([bytes(1, Buffer.from('ab'))])).text(1)).toBe('ab');
  });

  test.each(['', '0800', '0300010000000000', '10000100aabbccdd', 'ffff0100aabbccdd'])(
    'senseless bytes %j end the list',
    (senseless) => expect(listAttributes(Buffer.from(senseless, 'hex'))).toEqual([]),
  );
});
