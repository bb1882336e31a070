import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CsiClient } from '../../src/csi/protocol/index.ts';
import { csiSanity } from '../../test/csi-sanity/suite.ts';
import { waitFor } from '../../test/harness/index.ts';

const PROGRAM = new URL('tmpfs-driver.ts', import.meta.url).pathname;

/** Runs the driver as users do, and ends it with SIGTERM. */
async function startTmpfs(directory: string) {
  const path = join(directory, 'csi.sock');
  const program: ChildProcess = spawn(process.execPath, ['--conditions=keelson-source', PROGRAM], {
    env: { ...process.env, CSI_ENDPOINT: `unix://${path}` },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  program.stderr?.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  const ended = once(program, 'exit');
  await waitFor('the driver to listen', () => {
    if (program.exitCode !== null) throw new Error(log);
    return log.includes('listens');
  });
  return {
    endpoint: `unix://${path}`,
    async [Symbol.asyncDispose]() {
      program.kill('SIGTERM');
      expect(await ended).toEqual([0, null]);
      expect(existsSync(path)).toBe(false);
    },
  };
}

csiSanity('tmpfs example', { start: startTmpfs, access: 'mount' });

test('its capabilities follow from its methods', async () => {
  const { driver } = await import('./tmpfs-driver.ts');
  expect(Object.keys(driver)).not.toContain('createSnapshot');
  using client = new CsiClient('/absent.sock');
  await expect(client.identity.probe({})).rejects.toThrow(/no socket "\/absent.sock"/);
});
