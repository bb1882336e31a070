import { afterEach, beforeEach, expect, vi } from 'vitest';
import { ScriptedDriver } from '../harness/csi/index.ts';
import { storageClass, TestHost } from './host-fixture.ts';
import { waitFor } from './patience.ts';

export const NAME = 'scripted.keelson.test';
/** Those of the test that runs. */
export let driver: ScriptedDriver;
export let host: TestHost;

/** Each test of the file that calls this gets a scripted driver, a host and a class for it. */
export function useScriptedHost(): void {
  // A machine that is busy takes its time.
  vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
  beforeEach(async () => {
    driver = await ScriptedDriver.start();
    host = await TestHost.start([driver.endpoint]);
    await host.apply(storageClass('scripted', NAME, { allowVolumeExpansion: true }));
  });
  afterEach(async () => {
    await host[Symbol.asyncDispose]();
    await driver[Symbol.asyncDispose]();
  });
}

/** Nothing is left: no volume at the driver, no record, no mount, no directory. */
export async function nothingLeft(): Promise<void> {
  await waitFor('everything to go', () => host.leftRecords().length === 0);
  expect([...driver.volumes.volumes.keys()]).toEqual([]);
  expect([...driver.volumes.attached]).toEqual([]);
  expect(await host.leftOnDisk()).toEqual([]);
}
