import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Firewalld, hasFirewalld } from './firewalld.ts';
import {
  ask,
  Bench,
  BuiltIn,
  type Config,
  enterOwnHost,
  inside,
  newContainerId,
  ownHost,
  type Result,
  runReference,
  serveAddress,
} from './plugin-harness.ts';

const bench = new Bench();
const ours = new BuiltIn();

afterAll(() => bench.close());

describe.runIf(hasFirewalld())('with firewalld', () => {
  let firewalld: Firewalld;

  beforeAll(async () => {
    enterOwnHost();
    firewalld = await Firewalld.start(bench.path('firewalld'));
    vi.stubEnv('DBUS_SYSTEM_BUS_ADDRESS', firewalld.address);
  });

  afterAll(async () => {
    vi.unstubAllEnvs();
    await firewalld.stop();
  });

  async function pod(net: number) {
    const addresses = [{ address: `10.66.${net}.5/24` }, { address: `fd66:${net}::5/64` }];
    const routes = [{ dst: '0.0.0.0/0' }, { dst: '::/0' }];
    const ipam = { type: 'static', addresses, routes };
    const options = { containerId: newContainerId(), netns: bench.namespace() };
    const bridge = { type: 'bridge', bridge: `br${net}`, isGateway: true, ipam };
    return { ...options, prevResult: (await ours.add(bridge, options)) as Result };
  }

  const sources = (zone: string) =>
    firewalld.command(`--zone=${zone}`, '--list-sources').split(' ').filter(Boolean).sort();
  const rules = () => inside(undefined, 'nft', 'list', 'table', 'inet', 'firewalld');

  test('nobody answers: iptables, unless firewalld is asked for', async () => {
    const one = await pod(9);
    await ours.add({ type: 'firewall' }, one);
    expect(inside(undefined, 'iptables-save')).toContain('CNI-FORWARD');
    await ours.del({ type: 'firewall' }, one);
    const asked = { type: 'firewall', backend: 'firewalld' };
    await expect(ours.add(asked, one)).rejects.toThrow(/FirewallD1 was not provided/);
    await ours.del(asked, one);
    vi.stubEnv('DBUS_SYSTEM_BUS_ADDRESS', 'unix:path=/nonexistent/bus');
    await ours.add({ type: 'firewall' }, one);
    await expect(ours.add(asked, one)).rejects.toThrow('/nonexistent/bus');
    await ours.del(asked, one);
    vi.stubEnv('DBUS_SYSTEM_BUS_ADDRESS', firewalld.address);
  });

  test('addresses are put into its zone as by the reference, and pass', async () => {
    await firewalld.guard();
    const [one, other] = [await pod(1), await pod(2)];
    const server = serveAddress(one.netns, 80);
    try {
      await expect(ask(other.netns, '10.66.1.5', 80, 500)).rejects.toThrow();
      // That it runs is reason enough.
      const config: Config = { type: 'firewall' };
      expect(await ours.add(config, other)).toEqual(other.prevResult);
      expect(sources('trusted')).toEqual(['10.66.2.5/32', 'fd66:2::5/128']);
      expect(await ask(other.netns, '10.66.1.5', 80)).toBe('10.66.2.5');
      expect(await ask(other.netns, 'fd66:1::5', 80)).toBe('fd66:2::5');
      const mine = rules();
      await ours.add(config, other);
      await ours.check(config, other);
      await ours.del(config, other);
      await ours.del(config, other);
      // Chains of the zone stay.
      expect(rules()).not.toContain('10.66.2.5');
      await expect(ours.check(config, other)).rejects.toThrow('not in zone "trusted"');

      runReference(ownHost(), 'ADD', config, other);
      expect(rules()).toBe(mine);
      await ours.check(config, other);
      runReference(ownHost(), 'DEL', config, other);
    } finally {
      server.close();
    }
  });

  test('firewalldZone names another zone; one that is none is an error', async () => {
    const one = await pod(3);
    const work: Config = { type: 'firewall', backend: 'firewalld', firewalldZone: 'work' };
    await ours.add(work, one);
    expect(sources('work')).toEqual(['10.66.3.5/32', 'fd66:3::5/128']);
    await expect(ours.add({ type: 'firewall' }, one)).rejects.toThrow('ZONE_CONFLICT');
    await ours.del(work, one);
    expect(sources('work')).toEqual([]);
    const none = { ...work, firewalldZone: 'nosuch' };
    await expect(ours.add(none, one)).rejects.toThrow('INVALID_ZONE');
  });

  test('with ingressPolicy, rules of iptables hold beside it', async () => {
    const [one, other] = [await pod(4), await pod(5)];
    const config: Config = { type: 'firewall', ingressPolicy: 'same-bridge' };
    const server = serveAddress(one.netns, 80);
    try {
      for (const target of [one, other]) {
        await ours.add({ type: 'firewall' }, target);
      }
      expect(await ask(other.netns, '10.66.4.5', 80)).toBe('10.66.5.5');
      for (const target of [one, other]) await ours.add(config, target);
      await expect(ask(other.netns, '10.66.4.5', 80, 500)).rejects.toThrow('no answer');
      await ours.check(config, one);
    } finally {
      server.close();
    }
  });
});
