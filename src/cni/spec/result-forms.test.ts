import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CniError, cniErrorOf } from './error.ts';
import type { CniResult } from './result.ts';
import { formatResult, parseResult } from './result-forms.ts';
import { CNI_VERSIONS } from './versions.ts';

const full: CniResult = {
  interfaces: [
    { name: 'cni0', mac: '00:00:00:00:00:01', mtu: 1500 },
    { name: 'eth0', mac: '00:00:00:00:00:02', sandbox: '/run/netns/x', pciID: '0000:04:00.5' },
  ],
  ips: [
    { address: '10.1.0.5/16', gateway: '10.1.0.1', interface: 1 },
    { address: 'fd00::5/64', gateway: 'fd00::1', interface: 1 },
    { address: '10.1.0.6/16', interface: 1 },
  ],
  routes: [
    { dst: '0.0.0.0/0', mtu: 1400, priority: 5, table: 100, scope: 253 },
    { dst: '::/0', gw: 'fd00::1' },
  ],
  dns: { nameservers: ['10.1.0.1'], domain: 'a.b', search: ['c.d'], options: ['ndots:5'] },
};

describe('results of each version', () => {
  test('1.1.0 says all', () => {
    const json = formatResult(full, '1.1.0');
    expect(json).toEqual({ cniVersion: '1.1.0', ...full });
    expect(parseResult(json, '0.1.0', 'it')).toEqual(full);
  });

  test('1.0.0 has no more than name, mac and sandbox of interfaces, and dst and gw of routes', () => {
    expect(formatResult(full, '1.0.0')).toEqual({
      cniVersion: '1.0.0',
      interfaces: [
        { name: 'cni0', mac: '00:00:00:00:00:01' },
        { name: 'eth0', mac: '00:00:00:00:00:02', sandbox: '/run/netns/x' },
      ],
      ips: full.ips,
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0', gw: 'fd00::1' }],
      dns: full.dns,
    });
  });

  test.each(['0.3.0', '0.3.1', '0.4.0'] as const)('%s names the family of addresses', (version) => {
    const json = formatResult(full, version);
    expect(json['ips']).toEqual([
      { version: '4', address: '10.1.0.5/16', gateway: '10.1.0.1', interface: 1 },
      { version: '6', address: 'fd00::5/64', gateway: 'fd00::1', interface: 1 },
      { version: '4', address: '10.1.0.6/16', interface: 1 },
    ]);
    expect(parseResult(json, '1.1.0', 'it').ips).toEqual(full.ips);
  });

  test.each(['0.1.0', '0.2.0'] as const)('%s has one address of each family', (version) => {
    const json = formatResult(full, version);
    expect(json).toEqual({
      cniVersion: version,
      ip4: { ip: '10.1.0.5/16', gateway: '10.1.0.1', routes: [{ dst: '0.0.0.0/0' }] },
      ip6: { ip: 'fd00::5/64', gateway: 'fd00::1', routes: [{ dst: '::/0', gw: 'fd00::1' }] },
      dns: full.dns,
    });
    expect(parseResult(json, '1.1.0', 'it')).toEqual({
      interfaces: [],
      ips: [
        { address: '10.1.0.5/16', gateway: '10.1.0.1' },
        { address: 'fd00::5/64', gateway: 'fd00::1' },
      ],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0', gw: 'fd00::1' }],
      dns: full.dns,
    });
  });

  test.each(CNI_VERSIONS)('%s survives nothing at all', (version) => {
    const empty = { interfaces: [], ips: [], routes: [], dns: {} };
    expect(formatResult(empty, version)).toEqual({ cniVersion: version, dns: {} });
    const none = { ...empty, dns: { nameservers: [], search: [], options: [] } };
    expect(formatResult(none, version)).toEqual({ cniVersion: version, dns: {} });
    expect(parseResult({ cniVersion: version, dns: null }, '1.1.0', 'it')).toEqual(empty);
  });

  test('a result without version has that of the request', () => {
    expect(parseResult({ ip4: { ip: '10.0.0.1/8' } }, '0.2.0', 'it').ips).toHaveLength(1);
    expect(parseResult({ ips: [{ address: '10.0.0.1/8' }] }, '1.0.0', 'it').ips).toHaveLength(1);
  });

  test('null and the empty string are as good as nothing', () => {
    const json = { interfaces: null, ips: [{ address: '10.0.0.1/8', gateway: '' }], routes: null };
    expect(parseResult(json, '1.0.0', 'it').ips).toEqual([{ address: '10.0.0.1/8' }]);
  });

  test('an address of an interface that is not listed has none', () => {
    const ips = [0, 1].map((index) => ({ address: `10.0.0.${index}/8`, interface: index }));
    expect(parseResult({ ips, interfaces: [{ name: 'a' }] }, '1.0.0', 'it').ips).toEqual([
      { address: '10.0.0.0/8', interface: 0 },
      { address: '10.0.0.1/8' },
    ]);
  });

  test('keys may be written in capitals, as Go reads them, the right ones first', () => {
    const ip = { ADDRESS: '10.0.0.1/8', Gateway: '10.0.0.2', gateway: '10.0.0.3' };
    expect(parseResult({ CNIVersion: '1.0.0', IPs: [ip] }, '0.2.0', 'it').ips).toEqual([
      { address: '10.0.0.1/8', gateway: '10.0.0.3' },
    ]);
  });
});

test('whatever a plugin prints is a result or a CniError', () => {
  const cidr = fc.constantFrom('10.0.0.2/8', 'fd00::2/64', '10.0.0.2', '', '::ffff:10.0.0.1/104');
  const part = fc.anything({ maxDepth: 3, withNullPrototype: false });
  const shape = fc.record(
    {
      cniVersion: fc.oneof(fc.constantFrom(...CNI_VERSIONS, '9.0.0'), part),
      ip4: fc.oneof(fc.record({ ip: cidr, routes: part }), part),
      interfaces: fc.oneof(fc.array(fc.record({ name: fc.string(), mtu: part })), part),
      ips: fc.oneof(
        fc.array(fc.record({ address: cidr, interface: fc.integer({ max: 3 }) })),
        part,
      ),
      routes: fc.oneof(fc.array(fc.record({ dst: cidr, gw: part })), part),
      dns: part,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(shape, part), fc.constantFrom(...CNI_VERSIONS), (json, version) => {
      const result = attempt(() => parseResult(json, version, 'it'));
      if (result instanceof CniError) return;
      const again = parseResult(formatResult(result, '1.1.0'), version, 'it');
      expect(again).toEqual(result);
    }),
    { numRuns: 500 },
  );
});

describe('results that are refused', () => {
  test.each<[unknown, number, RegExp]>([
    ['text', 6, /expected an object, got "text"/],
    [[], 6, /expected an object/],
    [{ cniVersion: '3.0.0' }, 1, /"3\.0\.0" is not known/],
    [{ ips: [{ address: '10.0.0.1' }] }, 6, /ips\[0\]\.address: expected an address with prefix/],
    [{ ips: [{ address: '10.0.0.1/33' }] }, 6, /address with prefix/],
    [{ ips: [{}] }, 6, /"address" is missing/],
    [
      { ips: [{ address: 'fd00::1/64', gateway: 'here' }] },
      6,
      /expected an IP address, got "here"/,
    ],
    [{ ips: [{ address: '10.0.0.1/8', interface: -1 }] }, 6, /expected an integer/],
    [{ interfaces: [{ name: 5 }] }, 6, /interfaces\[0\]\.name: expected a string, got 5/],
    [{ routes: [{ dst: 'x'.repeat(5000) }] }, 6, /got "x{100,250}…/],
    [{ dns: { nameservers: 'x' } }, 6, /expected an array/],
  ])('%j', (json, code, message) => {
    const error = attempt(() => parseResult(json, '1.0.0', 'Result of "x"'));
    expect(cniErrorOf(error)?.cniCode).toBe(code);
    expect(String(error)).toMatch(message);
    expect(String(error)).toContain('Result of "x"');
  });
});

/** The answer, or the CniError that is thrown instead. */
function attempt<T>(work: () => T): T | CniError {
  try {
    return work();
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
}
