import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busyboxImage, pushImage } from '../fixtures/image.ts';
import { startRegistry } from '../fixtures/registry.ts';
import { containerConfig, output, runContainer, runPod, startDaemon } from '../harness/index.ts';

const PROJECT = new URL('../..', import.meta.url).pathname;
const run = promisify(execFile);

let directory: string;
let archive: string;
let installed: string;
const hadBuild = existsSync(join(PROJECT, 'dist'));

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-'));
  // Compiles to dist/, too.
  await run('npm', ['pack', '--pack-destination', directory], { cwd: PROJECT });
  const [name = ''] = (await readdir(directory)).filter((file) => file.endsWith('.tgz'));
  archive = join(directory, name);
  await output('tar', '-C', directory, '-xzf', archive);
  installed = join(directory, 'package');
  await symlink(join(PROJECT, 'node_modules'), join(installed, 'node_modules'));
}, 120_000);

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
  if (!hadBuild) await rm(join(PROJECT, 'dist'), { recursive: true, force: true });
});

test('the package holds what is run, and no sources or tests', async () => {
  const files = (await output('tar', '-tzf', archive)).trimEnd().split('\n');
  for (const file of [
    'keelson',
    'dist/main.js',
    'LICENSE',
    'README.md',
    'contrib/keelson.service',
  ]) {
    expect(files).toContain(`package/${file}`);
  }
  expect(files.filter((file) => /(?<!\.d)\.ts$|\/(src|test|node_modules)\//.test(file))).toEqual(
    [],
  );
});

test('the compiled program tells its version', async () => {
  const { version } = JSON.parse(await output('cat', join(PROJECT, 'package.json')));
  expect(await output(join(installed, 'keelson'), '--version')).toBe(`${version}\n`);
});

test('the package is imported and typed by its names, for plugins and drivers', async () => {
  const consumer = join(directory, 'consumer');
  await mkdir(join(consumer, 'node_modules/@types'), { recursive: true });
  await symlink(installed, join(consumer, 'node_modules/keelson'));
  await symlink(
    join(PROJECT, 'node_modules/@types/node'),
    join(consumer, 'node_modules/@types/node'),
  );
  await writeFile(join(consumer, 'package.json'), '{"type":"module"}');
  await writeFile(
    join(consumer, 'plugin.ts'),
    `import { CniRuntime, ExecInvoker } from 'keelson/cni';
     import { emptyResult, type PluginCall, servePlugin } from 'keelson/cni/plugin';
     const invoker = new ExecInvoker();
     export const runtime: CniRuntime = new CniRuntime({ invoker, binDirs: [], cacheDir: '/absent' });
     // @ts-expect-error: a name is no list of directories
     export const wrong = new CniRuntime({ invoker, binDirs: '', cacheDir: '/absent' });
     const nothing = async () => {};
     await servePlugin({ add: async (call: PluginCall) => emptyResult(), del: nothing, check: nothing });
    `,
  );
  await writeFile(
    join(consumer, 'driver.ts'),
    `import { type CsiDriver, KeelsonError, serveDriver, VolumeUsage_Unit } from 'keelson/csi/driver';
     export const driver: CsiDriver = {
       name: 'a.example.com',
       version: '1',
       nodeGetInfo: async () => ({ nodeId: 'n', maxVolumesPerNode: BigInt(VolumeUsage_Unit.BYTES) }),
       nodePublishVolume: async ({ volumeId }) => { throw new KeelsonError('NOT_FOUND', volumeId); },
       nodeUnpublishVolume: async () => ({}),
     };
     // @ts-expect-error: a driver has a name
     export const wrong: CsiDriver = { version: '1' };
     await serveDriver(driver);
    `,
  );
  const tsc = join(PROJECT, 'node_modules/typescript/bin/tsc');
  const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024'];
  const types = ['--lib', 'es2024,esnext.disposable', '--types', 'node', '--skipLibCheck'];
  await run(process.execPath, [tsc, ...flags, ...types, 'plugin.ts', 'driver.ts'], {
    cwd: consumer,
  });
  const env = { ...process.env, CNI_COMMAND: 'VERSION' };
  const plugin = run(process.execPath, ['plugin.ts'], { cwd: consumer, env });
  plugin.child.stdin?.end();
  expect(JSON.parse((await plugin).stdout).supportedVersions).toContain('1.1.0');
  const driver = run(process.execPath, ['driver.ts'], { cwd: consumer, env: process.env });
  await expect(driver).rejects.toThrow(/Cannot serve without an endpoint/);
});

test('the compiled program installs launchers that run', async () => {
  const bin = join(directory, 'bin');
  await output(join(installed, 'keelson'), 'cni', 'install', bin);
  const env = { PATH: '/usr/bin:/bin', CNI_COMMAND: 'VERSION' };
  const launcher = run(join(bin, 'bridge'), { env });
  launcher.child.stdin?.end();
  expect(JSON.parse((await launcher).stdout).supportedVersions).toContain('1.1.0');
});

test('the compiled daemon pulls an image, by its workers, and runs a container', async () => {
  await using registry = await startRegistry();
  const target = { url: registry.url, repository: 'busybox' };
  await pushImage(target, '1', busyboxImage());
  await using daemon = await startDaemon({ command: [join(installed, 'keelson')] });
  const image = `${registry.host}/busybox:1`;
  await daemon.images.pullImage({ image: { image } });
  const pod = await runPod(daemon);
  const containerId = await runContainer(daemon, pod, containerConfig(image));
  const { stdout } = await daemon.runtime.execSync({
    containerId,
    cmd: ['cat', '/var/www/index.html'],
  });
  expect(stdout.toString()).toBe('<h1>Keelson</h1>\n');
});
