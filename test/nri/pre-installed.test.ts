import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { leftoversUnder, PluginProgram, pluginsOf, prepareDaemon } from '../harness/index.ts';

test('a socket that another process listens on is left to it, and the daemon serves', async () => {
  await using daemon = await prepareDaemon({ network: 'none' });
  const other = createServer().listen(daemon.paths.nriSocket);
  await once(other, 'listening');
  await daemon.start();
  expect(daemon.log).toMatch(/no NRI plugin can connect: Socket .*nri.sock\\" is in use/);
  await daemon.stop();
  expect(existsSync(daemon.paths.nriSocket)).toBe(true);
  other.close();
});

test('a pre-installed plugin is started, configured and ended with the daemon', async () => {
  await using daemon = await prepareDaemon({
    network: 'none',
    config: '[nri]\nregistration_timeout = "15s"\ndisable_connections = true\n',
  });
  const { nriPlugins, nriConfigs } = daemon.paths;
  // It does not end by itself.
  const plugin = await PluginProgram.install(daemon, '20-one', { stays: {} });
  await writeFile(join(nriPlugins, '30-text'), 'not executable');
  await writeFile(join(nriPlugins, 'README'), 'no plugin');
  await mkdir(nriConfigs);
  await writeFile(join(nriConfigs, 'one.conf'), 'mode: calm\n');
  await daemon.start();
  expect(await pluginsOf(daemon)).toEqual([{ name: '20-one', preInstalled: true }]);
  expect(daemon.log).toMatch(/30-text.*not started as an NRI plugin/);
  expect(plugin.requests('Configure')[0].config).toBe('mode: calm\n');
  const running = async () =>
    (await leftoversUnder(daemon.directory)).filter((line) => line.includes('nri-plugin-main'));
  const [first, ...others] = await running();
  expect(others).toEqual([]);

  // What a daemon that was killed has left behind is ended by the next.
  await writeFile(join(nriConfigs, '20-one.conf'), 'mode: other\n');
  await daemon.kill9();
  expect(await running()).toEqual([first]);
  await daemon.start();
  expect(await running()).toEqual([expect.not.stringContaining(String(first))]);
  expect(plugin.requests('Configure').at(-1).config).toBe('mode: other\n');
  expect(existsSync(daemon.paths.nriSocket)).toBe(false);
  await daemon.stop();
  expect(await running()).toEqual([]);
  expect(plugin.methods.at(-1)).toBe('Shutdown');
});
