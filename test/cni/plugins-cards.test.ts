import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  ask,
  Bench,
  BuiltIn,
  type Config,
  comparable,
  inside,
  networkOf,
  newContainerId,
  ownHost,
  runReference,
  serveAddress,
} from './plugin-harness.ts';

/**
 * host-device with network cards of the machine. Only where `npm run test:vm` has made them:
 * elsewhere they are somebody's.
 */
const PCI = '/sys/bus/pci/devices';
const [FIRST, SECOND] = ['0000:00:10.0', '0000:00:11.0'] as const;

const ours = new BuiltIn();
const bench = new Bench();

afterAll(() => bench.close());

function virtioOf(pci: string): string {
  const name = readdirSync(join(PCI, pci)).find((one) => one.startsWith('virtio'));
  return resolve(PCI, readlinkSync(join(PCI, pci)), name ?? '');
}

/** The cards as the host has them, and whatever came of them. */
const cards = () =>
  (networkOf(undefined)['addresses'] as { ifname: string }[]).filter(({ ifname }) =>
    /^(eth|net|en)/.test(ifname),
  );

/** IPv6 state that comes late is left out. */
function networkIn(netns: string): unknown {
  const { routes6: _, ...rest } = networkOf(netns);
  return rest;
}

const ipam = (last: number) => ({
  type: 'static',
  addresses: [{ address: `10.78.0.${last}/24` }],
});

describe.runIf(process.env['TEST_VM'] === 'yes')('a network card', () => {
  const cases: [string, () => object][] = [
    ['pciBusID', () => ({ pciBusID: FIRST })],
    ['kernelpath', () => ({ kernelpath: virtioOf(FIRST) })],
    ['deviceID of the runtime', () => ({ runtimeConfig: { deviceID: FIRST }, pciBusID: SECOND })],
  ];

  test.each(cases)('by %s, like the reference', async (_, selector) => {
    const before = cards();
    const config: Config = { type: 'host-device', ...selector(), ipam: ipam(5) };
    const theirs = { containerId: newContainerId(), netns: bench.namespace() };
    const mine = { containerId: newContainerId(), netns: bench.namespace() };
    const expected = runReference(ownHost(), 'ADD', config, theirs);
    const network = networkIn(theirs.netns);
    runReference(ownHost(), 'DEL', config, theirs);
    const result = await ours.add(config, mine);
    expect(comparable(result)).toEqual(comparable(expected));
    expect(networkIn(mine.netns)).toEqual(network);
    await ours.check(config, { ...mine, prevResult: result });
    await ours.del(config, mine);
    expect(cards()).toEqual(before);
  });

  test('carries traffic', async () => {
    const pods = [FIRST, SECOND].map((pciBusID, i) => ({
      config: { type: 'host-device', pciBusID, ipam: ipam(5 + i) },
      options: { containerId: newContainerId(), netns: bench.namespace() },
    }));
    for (const { config, options } of pods) await ours.add(config, options);
    const [a, b] = pods.map(({ options }) => options.netns) as [string, string];
    const server = serveAddress(a, 80);
    try {
      expect(await ask(b, '10.78.0.5', 80)).toBe('10.78.0.6');
    } finally {
      server.close();
    }
    for (const { config, options } of pods) await ours.del(config, options);
  });

  test('comes back when its namespace is gone', async () => {
    const netns = bench.namespace();
    const config: Config = { type: 'host-device', pciBusID: FIRST };
    const options = { containerId: newContainerId(), netns };
    await ours.add(config, options);
    await bench.forget(netns);
    await ours.del(config, options);
    await expect
      .poll(() => readdirSync(join(virtioOf(FIRST), 'net')), { timeout: 10_000 })
      .toHaveLength(1);
    // The kernel has given it back by the name that it had in the container.
    const [name = ''] = readdirSync(join(virtioOf(FIRST), 'net'));
    expect(inside(undefined, 'ip', 'link', 'show', name)).toContain('DOWN');
  });

  test('that a program drives itself is not moved', async () => {
    writeFileSync(join(PCI, SECOND, 'driver/unbind'), SECOND);
    writeFileSync(join(PCI, SECOND, 'driver_override'), 'uio_pci_generic');
    writeFileSync('/sys/bus/pci/drivers_probe', SECOND);
    expect(readlinkSync(join(PCI, SECOND, 'driver'))).toMatch(/uio_pci_generic$/);
    const config: Config = { type: 'host-device', pciBusID: SECOND, ipam: ipam(5) };
    const options = { containerId: newContainerId(), netns: bench.namespace() };
    const expected = runReference(ownHost(), 'ADD', config, options);
    const result = await ours.add(config, options);
    // The reference has its addresses point to an interface that it does not list.
    expect(result).toEqual({ ...expected, ips: [{ address: '10.78.0.5/24' }] });
    await ours.check(config, { ...options, prevResult: result });
    await ours.del(config, options);
  });
});
