import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PodSandboxState } from '../../src/gen/runtime/v1/api.ts';
import { type Daemon, podConfig, startDaemon } from '../harness/index.ts';
import { codeOf } from './suite.ts';

/** Where host-local keeps the addresses of the embedded network. */
const LEASES = '/var/lib/cni/networks/keelson';
const existed = existsSync(LEASES);
const PROGRAM = new URL('../../src/main.ts', import.meta.url).pathname;

let daemon: Daemon;

beforeAll(async () => {
  // In a network namespace of its own: the bridge has the same name everywhere.
  daemon = await startDaemon({
    network: 'none',
    args: ['--default-network'],
    command: ['unshare', '--net', process.execPath, PROGRAM],
  });
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  const left = existsSync(LEASES) ? await readdir(LEASES) : [];
  const leased = left.some((name) => /^\d+\./.test(name));
  if (!existed && !leased) await rm(LEASES, { recursive: true, force: true });
});

async function address(): Promise<string> {
  const { podSandboxId } = await daemon.runtime.runPodSandbox({ config: podConfig() });
  return (await daemon.runtime.podSandboxStatus({ podSandboxId })).status!.network!.ip;
}

const update = (podCidr: string) =>
  daemon.runtime.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr } } });

test('the embedded network gives addresses, and no file is written for it', async () => {
  const { status } = await daemon.runtime.status();
  const network = status!.conditions.find(({ type }) => type === 'NetworkReady');
  expect(network).toMatchObject({ status: true });
  expect(await address()).toMatch(/^10\.85\./);
  expect(await readdir(daemon.paths.cniConfDir)).toEqual([]);
});

test("a kubelet's pod CIDRs take its place, for pods that come, also after a restart", async () => {
  const before = await address();
  expect(before).toMatch(/^10\.85\./);
  await update('10.199.7.0/24');
  expect(await address()).toMatch(/^10\.199\.7\./);
  expect(await codeOf(update('10.199.7.0'))).toBe('INVALID_ARGUMENT');
  expect(await address()).toMatch(/^10\.199\.7\./);
  await update('');
  expect(await address()).toMatch(/^10\.199\.7\./);
  await daemon.restart();
  expect(await address()).toMatch(/^10\.199\.7\./);
  const { items } = await daemon.runtime.listPodSandbox();
  const ready = items.filter(({ state }) => state === PodSandboxState.SANDBOX_READY);
  expect(ready).toHaveLength(items.length);
});
