import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { callsOf, SocketClient } from '../../src/csi/protocol/index.ts';
import { csiTool } from '../../src/csi-tool.ts';
import { RegistrationService } from '../../src/gen/pluginregistration/v1/api.ts';
import { waitFor } from '../harness/index.ts';
import { keelson as run } from './fake-cri.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-csi-'));
});

afterEach(() => rm(directory, { recursive: true }));

const keelson = (...args: string[]) =>
  run(['csi', ...args], { env: {}, csiTool: async () => csiTool('1.2.3') });

test('hostpath runs until SIGTERM, and probe tells what it can do', async () => {
  const socket = join(directory, 'csi.sock');
  const root = join(directory, 'root');
  const registry = join(directory, 'registry');
  const options = ['--root', root, '--node-id', 'n1', '--registration-dir', registry];
  const program = spawn(
    process.execPath,
    [MAIN, 'csi', 'hostpath', ...options, '--name', 'mine.example.com'],
    { env: { ...process.env, CSI_ENDPOINT: `unix://${socket}` }, stdio: 'ignore' },
  );
  const ended = once(program, 'exit');
  await waitFor('the socket', () => existsSync(socket), 20_000);
  const { code, stdout } = await keelson('probe', socket);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^Driver: +mine.example.com 0\.1\.0$/m);
  expect(stdout).toMatch(/^Node: +n1, no limit$/m);
  expect(stdout).toMatch(/^Topology: +topology.mine.example.com\/node=n1$/m);
  expect(stdout).toMatch(/^controller +CREATE_DELETE_VOLUME$/m);
  expect(stdout).toMatch(/^node +STAGE_UNSTAGE_VOLUME$/m);
  const json = JSON.parse((await keelson('probe', `unix://${socket}`, '-o', 'json')).stdout);
  expect(json).toMatchObject({
    ...{ name: 'mine.example.com', ready: true, expansion: ['ONLINE'] },
    node: { nodeId: 'n1', maxVolumes: '0' },
  });
  const registration = join(registry, 'mine.example.com-reg.sock');
  await waitFor('the registration socket', () => existsSync(registration));
  using kubelet = new SocketClient(registration, 10_000);
  const { getInfo } = callsOf(kubelet, RegistrationService, 'mine');
  expect(await getInfo({})).toEqual({
    ...{ type: 'CSIPlugin', name: 'mine.example.com', endpoint: socket },
    supportedVersions: ['1.0.0'],
  });
  const second = await keelson('hostpath', '--endpoint', `${directory}/b.sock`, '--root', root);
  expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining('is in use') });
  program.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
  expect([socket, registration].filter((path) => existsSync(path))).toEqual([]);
});

test.each([
  [4, /there is no socket/, ['probe', '/absent.sock']],
  [2, /absolute path/, ['probe', 'tcp://localhost:1']],
  [2, /"soon" is no duration/, ['probe', '/absent.sock', '--timeout', 'soon']],
  [2, /without --endpoint/, ['hostpath']],
  [2, /[Uu]nknown log level "loud"/, ['hostpath', '--endpoint', '/x.sock', '--log-level', 'loud']],
  [2, /cannot be node "a\/b"/, ['hostpath', '--endpoint', '/x.sock', '--node-id', 'a/b']],
])('ends with %i: %s', async (code, words, args) => {
  const ended = await keelson(...args);
  expect(ended.code).toBe(code);
  expect(ended.stderr).toMatch(words);
});
