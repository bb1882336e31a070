import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { keelson } from '../cli/fake-cri.ts';
import { busyboxImage, pushImage } from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';
import { type Daemon, prepareDaemon } from '../harness/index.ts';
import { waitFor } from './patience.ts';

// A machine that is busy takes its time.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let registry: RegistryFixture;
let daemon: Daemon;
let image: string;

beforeAll(async () => {
  registry = await startRegistry();
  image = `${registry.host}/busybox:1`;
  await pushImage({ url: registry.url, repository: 'busybox' }, '1', busyboxImage());
  daemon = await prepareDaemon();
  const directory = join(daemon.directory, 'local-path');
  await daemon.start({ env: { KEELSON_CSI_LOCAL_PATH_DIR: directory } });
});

afterAll(async () => {
  try {
    await daemon?.[Symbol.asyncDispose]();
  } finally {
    await registry?.stop();
  }
});

async function output(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await keelson(['-r', daemon.uri, ...args]);
  const error = stderr.replace(/^(Pull|Download).*\n/gm, '');
  expect({ code, stderr: error }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

test('with a directory for it, a claim without class gets a volume of this disk', async () => {
  await waitFor('the driver', async () => (await output('csi', 'drivers')).includes('hostpath'));
  await output('volume', 'create', 'data', '--size', '8Mi');
  await output('run', '--rm', '--volume', 'data:/data', image, 'sh', '-c', 'echo kept >/data/file');
  expect(await output('volume', 'ls')).toMatch(
    /PersistentVolumeClaim +data +Bound +8Mi +local-path/,
  );
  await output('volume', 'snapshot', 'data', 'before');
  await output('volume', 'create', 'copy', '--size', '8Mi', '--from', 'snapshot/before');
  const read = ['run', '--rm', '--volume', 'copy:/data:ro', image, 'cat', '/data/file'];
  expect(await output(...read)).toBe('kept\n');
  await output('volume', 'rm', 'data', 'copy', 'snapshot/before');
  await waitFor(
    'the volumes to go',
    async () => !/PersistentVolume /.test(await output('volume', 'ls')),
  );
});
