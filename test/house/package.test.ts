import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
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
