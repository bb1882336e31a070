import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import {
  Bench,
  BuiltIn,
  type Config,
  clearOwnHost,
  enterOwnHost,
  inside,
  newContainerId,
  type Result,
} from './plugin-harness.ts';

const bench = new Bench();
const ours = new BuiltIn();

beforeAll(() => enterOwnHost());
afterEach(() => clearOwnHost());
afterAll(() => bench.close());

const bridge: Config = {
  type: 'bridge',
  bridge: 'br0',
  isGateway: true,
  ipMasq: true,
  ipam: {
    type: 'host-local',
    dataDir: bench.path('store'),
    ranges: [[{ subnet: '10.60.0.0/16' }], [{ subnet: 'fd60::/112' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  },
};

interface Pod {
  containerId: string;
  netns: string;
  portmap: Config;
  prevResult?: Result;
}

function newPod(port: number): Pod {
  const portMappings = [{ hostPort: port, containerPort: 80, protocol: 'tcp' }];
  return {
    containerId: newContainerId(),
    netns: bench.namespace(),
    portmap: { type: 'portmap', runtimeConfig: { portMappings } },
  };
}

async function add(pod: Pod): Promise<void> {
  pod.prevResult = await ours.add(bridge, pod);
  await ours.add(pod.portmap, pod);
}

async function del(pod: Pod): Promise<void> {
  await ours.del(pod.portmap, pod);
  await ours.del(bridge, pod);
  await bench.forget(pod.netns);
}

/** What pods leave: links, elements of maps, files. */
function leftovers(): unknown[] {
  return [
    ...inside(undefined, 'ip', '-br', 'link')
      .split('\n')
      .filter((line) => line.startsWith('veth')),
    ...inside(undefined, 'nft', 'list', 'ruleset')
      .split('\n')
      .filter((line) => line.includes('elements')),
    ...readdirSync(join(bench.path('store'), 'testnet')).filter((name) => /^(10|fd)/.test(name)),
  ];
}

test('many at once get what is theirs, and leave nothing', async () => {
  const pods = Array.from({ length: 60 }, (_, i) => newPod(20_000 + i));
  await Promise.all(pods.map(add));
  const addresses = pods.map((pod) => pod.prevResult?.['ips'][0].address);
  expect(new Set(addresses).size).toBe(pods.length);
  for (const pod of pods) {
    await ours.check(bridge, pod);
    await ours.check(pod.portmap, pod);
  }
  await Promise.all(pods.map(del));
  expect(leftovers()).toEqual([]);
}, 60_000);

test('coming and going at the same time leaves nothing', async () => {
  const worker = async (number: number) => {
    for (let i = 0; i < 8; i++) {
      const pod = newPod(30_000 + number);
      await add(pod);
      await del(pod);
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, number) => worker(number)));
  expect(leftovers()).toEqual([]);
}, 60_000);

test('open files do not add up', async () => {
  const count = () => readdirSync('/proc/self/fd').length;
  const cycle = async () => {
    const pod = newPod(40_000);
    await add(pod);
    await del(pod);
  };
  await cycle();
  const settled = () => new Promise((resolve) => setTimeout(resolve, 1500));
  await settled();
  const before = count();
  for (let i = 0; i < 10; i++) await cycle();
  await settled();
  expect(count()).toBeLessThanOrEqual(before);
}, 60_000);
