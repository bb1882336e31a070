import { describe, expect, test } from 'vitest';
import {
  containsIp,
  formatCidr,
  formatIp,
  lastIpOf,
  networkOf,
  nextIp,
  parseCidr,
  parseIp,
} from './ip.ts';

describe('addresses', () => {
  test.each([
    ['10.1.2.3', '0a010203'],
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['fd00:10::2:3', 'fd001000000000000000000000020003'.replace('1000', '0010')],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['64:ff9b::192.0.2.1', '0064ff9b0000000000000000c0000201'],
    ['::ffff:192.0.2.1', 'c0000201'],
  ])('%s is parsed', (text, hex) => {
    expect(parseIp(text)?.toString('hex')).toBe(hex);
  });

  test.each(['', '10.1.2', '10.1.2.256', '01.2.3.4', 'fe80::1%eth0', '1::2::3', 'x'])(
    '%j is refused',
    (text) => expect(parseIp(text)).toBeUndefined(),
  );

  test.each([
    '10.0.0.1',
    '::',
    '::1',
    'fd00::',
    '1:0:0:2::3',
    '2001:db8::1:0:0:1',
    '1:0:3:4:5:6:7:8',
  ])('%s is written in its canonical form', (text) => expect(formatIp(parseIp(text)!)).toBe(text));
});

describe('networks', () => {
  test.each([
    '10.1.2.3',
    '10.1.2.3/33',
    '10.1.2.3/-1',
    '10.1.2.3/',
    'fd00::/129',
    '1.2.3.4/8/9',
    '1.2.3.4/a',
  ])('%j is refused', (text) => expect(parseCidr(text)).toBeUndefined());

  test.each([
    ['10.1.130.3/17', '10.1.128.0/17', '10.1.255.255'],
    ['10.1.2.3/32', '10.1.2.3/32', '10.1.2.3'],
    ['10.1.2.3/0', '0.0.0.0/0', '255.255.255.255'],
    ['fd00::1:2/112', 'fd00::1:0/112', 'fd00::1:ffff'],
  ])('%s lies in %s and ends at %s', (text, network, last) => {
    const cidr = parseCidr(text)!;
    expect(formatCidr(networkOf(cidr))).toBe(network);
    expect(formatIp(lastIpOf(cidr))).toBe(last);
  });

  test('contain the addresses of their family', () => {
    const network = parseCidr('10.1.2.0/23')!;
    expect(containsIp(network, parseIp('10.1.3.255')!)).toBe(true);
    expect(containsIp(network, parseIp('10.1.4.0')!)).toBe(false);
    expect(containsIp(network, parseIp('fd00::1')!)).toBe(false);
  });

  test('the next address carries over', () => {
    expect(formatIp(nextIp(parseIp('10.0.255.255')!))).toBe('10.1.0.0');
    expect(formatIp(nextIp(parseIp('255.255.255.255')!))).toBe('0.0.0.0');
  });
});
