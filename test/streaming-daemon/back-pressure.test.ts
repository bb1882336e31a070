import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test } from 'vitest';
import { criSuite, shell } from '../cri/suite.ts';
import { containerConfig, type Pod, runContainer, runPod, waitFor } from '../harness/index.ts';
import { CommandClient } from './command-client.ts';

/** KiB that the daemon may grow by for a client that does not read, or a command that does not. */
const GROWTH = 32 * 1024;

const suite = criSuite();
let pod: Pod;
let containerId: string;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
  containerId = await runContainer(suite.daemon, pod, containerConfig(suite.image));
});

/** KiB. */
async function memory(): Promise<number> {
  const status = await readFile(`/proc/${suite.daemon.pid}/status`, 'utf8');
  return Number(/VmRSS:\s*(\d+)/.exec(status)?.[1]);
}

const exec = (script: string, stdin = false) =>
  CommandClient.exec(
    suite.daemon,
    { containerId, cmd: ['sh', '-c', script], stdin },
    { discard: true },
  );

test('1 GB to a client that pauses: the daemon keeps little, and nothing is lost', {
  timeout: 120_000,
}, async () => {
  // Let the daemon grow to its working size first.
  expect(await (await exec('head -c 50000000 /dev/zero')).exitCode()).toBe(0);
  const before = await memory();
  let peak = before;
  const sampling = setInterval(async () => {
    peak = Math.max(peak, await memory());
  }, 50);
  try {
    const client = await exec('head -c 1000000000 /dev/zero');
    client.socket.pause();
    await sleep(2000);
    expect(client.received).toBeLessThan(10_000_000);
    client.socket.resume();
    expect(await client.exitCode()).toBe(0);
    expect(client.received).toBe(1_000_000_000);
  } finally {
    clearInterval(sampling);
  }
  expect(peak).toBeLessThan(before + GROWTH);
});

test('a command that does not read holds the client back', { timeout: 60_000 }, async () => {
  const before = await memory();
  const client = await exec('echo here; sleep 1000000', true);
  await waitFor('the command', () => client.received > 0);
  for (let i = 0; i < 200; i++) void client.type(Buffer.alloc(1_000_000 / 2)).catch(() => {});
  await sleep(2000);
  expect(client.socket.bufferedAmount).toBeGreaterThan(50_000_000);
  expect(await memory()).toBeLessThan(before + GROWTH);
  await client.vanish();
});

test('attach: a client that does not read', { timeout: 60_000 }, async () => {
  const id = await runContainer(
    suite.daemon,
    pod,
    containerConfig(suite.image, {
      ...shell('read go; head -c 300000000 /dev/zero; sleep 1000000'),
      stdin: true,
      logPath: '',
    }),
  );
  const client = await CommandClient.attach(
    suite.daemon,
    { containerId: id, stdin: true },
    { discard: true },
  );
  const before = await memory();
  await client.type('go\n');
  client.socket.pause();
  await sleep(3000);
  expect(await memory()).toBeLessThan(before + GROWTH);
  client.socket.resume();
  await waitFor('all of the output', () => client.received === 300_000_000, 40_000);
  await client.vanish();
});
