import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { beforeEach, expect, it } from 'vitest';
import { criSuite } from '../cri/suite.ts';
import { buildImage, buildLayer, busyboxImage, type FixtureImage } from '../fixtures/image.ts';
import { tar } from '../fixtures/tar.ts';
import { containerConfig, output, runContainer, runPod } from '../harness/index.ts';
import { type CliOptions, keelson } from './fake-cri.ts';

const suite = criSuite();

beforeEach(async () => {
  await must('rmi', '--all');
});

function run(args: readonly string[], options: CliOptions = {}) {
  return keelson(['-r', suite.daemon.uri, ...args], options);
}

/** The stdout of a command that must succeed. */
async function must(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(args);
  expect({ code, stderr: stderr.replace(/^(Pull|Downloaded).*\n/gm, '') }).toEqual({
    code: 0,
    stderr: '',
  });
  return stdout;
}

function path(name: string): string {
  return join(suite.daemon.directory, name);
}

function skopeo(...args: string[]): Promise<string> {
  return output('skopeo', '--insecure-policy', ...args);
}

/** What `docker save` of old writes: one directory for each layer, and links for repeated ones. */
function dockerSave(image: FixtureImage, layer: Buffer, tags: readonly string[]): Buffer {
  const hex = image.id.replace('sha256:', '');
  return tar([
    { path: `${'1'.repeat(64)}/`, type: 'directory' },
    { path: `${'1'.repeat(64)}/VERSION`, content: '1.0' },
    { path: `${'1'.repeat(64)}/layer.tar`, content: layer },
    { path: `${hex}.json`, content: image.config },
    {
      path: 'manifest.json',
      content: JSON.stringify([
        { Config: `${hex}.json`, RepoTags: tags, Layers: [`${'1'.repeat(64)}/layer.tar`] },
      ]),
    },
    { path: 'repositories', content: '{}' },
  ]);
}

it.each(['oci-archive', 'docker-archive'])('loads an %s of skopeo and runs it', async (form) => {
  const archive = path(`${form}.tar`);
  const name = 'localhost/loaded:1';
  await skopeo(
    'copy',
    '--src-tls-verify=false',
    `docker://${suite.image}`,
    `${form}:${archive}:${name}`,
  );
  expect(await must('image', 'load', '-i', archive)).toBe(`Loaded: ${name}\n`);
  const { id } = busyboxImage();
  expect((await must('images', '-q', '--no-trunc')).trim()).toBe(id);
  const { code, stdout } = await run(['run', '--rm', '--pull', 'never', name, 'echo', 'runs']);
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'runs\n' });
});

it.each([
  ['plain', (bytes: Buffer) => bytes],
  ['compressed', (bytes: Buffer) => gzipSync(bytes)],
])('loads a %s archive of docker save from stdin', async (_, pack) => {
  const content = tar([{ path: 'greeting', content: 'hello' }]);
  const image = buildImage({ layers: [buildLayer(content, { compression: 'none' })] });
  const stdin = new PassThrough();
  stdin.end(pack(dockerSave(image, content, ['greeting:1', 'localhost:5000/other:2'])));
  expect(await run(['image', 'load'], { stdin })).toEqual({
    code: 0,
    stdout: 'Loaded: docker.io/library/greeting:1\nLoaded: localhost:5000/other:2\n',
    stderr: '',
  });
  const { status } = JSON.parse(await must('inspecti', 'greeting:1'));
  expect(status.id).toBe(image.id);
});

it('says what is wrong with an archive, and leaves nothing of it', async () => {
  const wrong = path('wrong.tar');
  await writeFile(wrong, tar([{ path: 'file', content: 'x' }]));
  const { code, stderr } = await run(['image', 'load', '-i', wrong]);
  expect(code).toBe(2);
  expect(stderr).toContain('neither an "index.json" nor a "manifest.json"');
  expect(await run(['image', 'load', '-i', path('absent')])).toMatchObject({ code: 2 });
  expect(await must('images', '-q')).toBe('');
});

it.each(['oci', 'docker'] as const)('saves in format %s what skopeo reads', async (format) => {
  await must('pull', suite.image);
  const archive = path(`saved-${format}.tar`);
  expect(await must('image', 'save', '--format', format, '-o', archive, suite.image)).toBe('');
  const source = `${format}-archive:${archive}`;
  const config = await skopeo('inspect', '--config', '--raw', source);
  expect(config).toBe(busyboxImage().config.toString());
  await skopeo('copy', source, `dir:${path(`dir-${format}`)}`);
  await must('rmi', '--all');
  expect(await must('image', 'load', '-i', archive)).toBe(`Loaded: ${suite.image}\n`);
});

it('saves several images to stdout, and refuses a terminal', async () => {
  const other = await suite.add('other', buildImage({ layers: [buildLayer([{ path: 'o' }])] }));
  await must('pull', suite.image);
  const stdout = Object.assign(new PassThrough(), { isTTY: false });
  const saving = run(['image', 'save', suite.image, other], { stdout });
  saving.then(() => stdout.end());
  const loaded = await run(['image', 'load'], { stdin: stdout });
  expect((await saving).code).toBe(0);
  expect(loaded.stdout.trim().split('\n').sort()).toEqual(
    [`Loaded: ${suite.image}`, `Loaded: ${other}`].sort(),
  );
  const terminal = Object.assign(new PassThrough(), { isTTY: true });
  expect(await run(['image', 'save', other], { stdout: terminal })).toMatchObject({ code: 2 });
});

it('leaves no file of an archive that cannot be whole', async () => {
  await must('pull', suite.image);
  const archive = path('half.tar');
  expect(await run(['image', 'save', '-o', archive, 'absent'])).toMatchObject({ code: 3 });
  expect(existsSync(archive)).toBe(false);
  expect((await readdir(suite.daemon.directory)).filter((name) => /partial/.test(name))).toEqual(
    [],
  );
});

it('prunes what no container uses, names only when told', async () => {
  const config = containerConfig(await suite.add('busybox', busyboxImage()));
  const pod = await runPod(suite.daemon);
  await runContainer(suite.daemon, pod, config);
  const unused = buildImage({
    layers: [buildLayer([{ path: 'big', content: Buffer.alloc(1e6, 'x') }])],
  });
  await suite.add('unused', unused);
  expect(await must('image', 'prune')).toMatch(/^Freed: /);
  const pruned = await must('image', 'prune', '--all');
  expect(pruned).toContain(`Deleted: ${unused.id}\n`);
  expect(pruned).toMatch(/^Freed: 1(\.\d+)?MB$/m);
  expect((await must('images', '-q', '--no-trunc')).trim()).toBe(busyboxImage().id);
  await suite.daemon.removePods();
});

it('explains where a pull would ask, without secrets', async () => {
  const { paths } = suite.daemon;
  const directory = join(paths.registryConfigDir, 'registry.test');
  await mkdir(directory);
  await writeFile(
    join(directory, 'hosts.toml'),
    'server = "https://registry.test"\n[host."https://mirror.test"]\ncapabilities = ["pull"]\n',
  );
  const explain = ['image', 'explain', '--creds', 'jane:hunter2', 'registry.test/team/web:1'];
  const text = await must(...explain);
  const [, mirror, server] = text.split('\n');
  expect(mirror).toMatch(/^https:\/\/mirror\.test\/v2\/team\/web +pull +verified +none/);
  expect(mirror).toContain(join(directory, 'hosts.toml'));
  expect(server).toMatch(
    /^https:\/\/registry\.test\/v2\/team\/web +resolve, pull +verified +user "jane"/,
  );
  expect(text).not.toContain('hunter2');
  expect(JSON.parse(await must(...explain, '-o', 'json'))).toHaveLength(2);
  expect(await run(['image', 'explain', 'Bad Name'])).toMatchObject({ code: 2 });
});

it('explains a short name by registries.conf', async () => {
  const { registriesConf } = suite.daemon.paths;
  await writeFile(
    registriesConf,
    'unqualified-search-registries = ["one.test", "two.test"]\n[[registry]]\nprefix = "two.test/team"\nlocation = "store.test/moved"\n[[registry.mirror]]\nlocation = "mirror.test/copy"\n',
  );
  const rows = (await must('image', 'explain', 'team/web:1')).trimEnd().split('\n').slice(1);
  expect(rows.map((row) => row.split(' ')[0])).toEqual([
    'https://one.test/v2/team/web',
    'https://mirror.test/v2/copy/web',
    'https://store.test/v2/moved/web',
  ]);
  expect(rows.at(-1)).toContain(registriesConf);
  await rm(registriesConf);
});

it('changes the log level while the daemon runs', async () => {
  expect(await must('log-level')).toBe('info\n');
  expect(await must('log-level', 'debug')).toBe('debug\n');
  await run(['rmi', 'absent']);
  await suite.daemon.images.pullImage({ image: { image: 'Bad Name' } }).catch(() => {});
  expect(suite.daemon.log).toContain('"level":"debug"');
  expect(await must('log-level', 'info')).toBe('info\n');
  expect(await run(['log-level', 'loud'])).toMatchObject({ code: 2 });
});

it('keeps the bytes of what was saved', async () => {
  await must('pull', suite.image);
  const [first, second] = [path('a.tar'), path('b.tar')];
  for (const file of [first, second]) await must('image', 'save', '-o', file, suite.image);
  expect((await readFile(first)).equals(await readFile(second))).toBe(true);
});
