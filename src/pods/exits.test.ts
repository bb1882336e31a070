import { mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Logger, NEVER, newId, SILENT } from '../base/index.ts';
import { type Exit, Exits } from './exits.ts';

let directory: string;
let errors: string[];
let exits: Exits;
let seen: Map<string, Exit>;
beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'keelson-exits-')), 'exits');
  errors = [];
  seen = new Map();
  const logger: Logger = { ...SILENT, error: (_, message) => void errors.push(message) };
  exits = new Exits(directory, logger);
});
afterEach(async () => {
  exits[Symbol.dispose]();
  await rm(join(directory, '..'), { recursive: true });
});

const remember = async (id: string, exit: Exit) => {
  seen.set(id, exit);
  exits.announce(id);
};

/** Writes an exit file as conmon does. */
async function exit(id: string, text: string): Promise<void> {
  const path = join(directory, `${id}.writing`);
  await writeFile(path, text);
  await rename(path, join(directory, id));
}

test('an exit is reported with its code and time, and its file is deleted', async () => {
  await exits.start(async (id, how) => {
    const { mtimeNs } = await stat(join(directory, id), { bigint: true });
    expect(how.finishedAt).toBe(String(mtimeNs));
    await remember(id, how);
  });
  const id = newId();
  const waiting = exits.wait(id, NEVER);
  await exit(id, '137');
  await waiting;
  expect(seen.get(id)?.exitCode).toBe(137);
  await expect.poll(() => readdir(directory)).toEqual([]);
});

test('exits that happened before the start are reported', async () => {
  await exits.start(async () => {});
  exits[Symbol.dispose]();
  const ids = [newId(), newId()];
  for (const id of ids) await exit(id, '0');
  exits = new Exits(directory, SILENT);
  await exits.start(remember);
  expect([...seen.keys()].sort()).toEqual(ids.sort());
});

test.each([
  ['', 255],
  ['garbage', 255],
  ['1\n', 1],
  ['-1', -1],
])('an exit code of %j is %i', async (text, exitCode) => {
  await exits.start(remember);
  const id = newId();
  await exit(id, text);
  await exits.wait(id, NEVER);
  expect(seen.get(id)?.exitCode).toBe(exitCode);
});

test('other files are left alone', async () => {
  await exits.start(remember);
  await writeFile(join(directory, 'README'), '1');
  await writeFile(join(directory, `${newId()}.tmp`), '1');
  await exits.scan();
  expect(seen.size).toBe(0);
  expect(await readdir(directory)).toHaveLength(2);
});

test('one exit is reported once, however often it is looked for', async () => {
  const reports: string[] = [];
  await exits.start(async (id) => {
    reports.push(id);
    await new Promise((resolve) => setImmediate(resolve));
  });
  const id = newId();
  await exit(id, '0');
  await Promise.all([exits.scan(), exits.scan(), exits.scan()]);
  expect(reports).toEqual([id]);
});

test('an exit that cannot be recorded is reported again later', async () => {
  const [bad, good] = [newId(), newId()];
  let broken = true;
  await exits.start(async (id, how) => {
    if (broken && id === bad) throw new Error('disk full');
    await remember(id, how);
  });
  await exit(bad, '3');
  await exit(good, '0');
  await exits.wait(good, NEVER);
  await expect.poll(() => errors.length).toBeGreaterThan(0);
  expect(await readdir(directory)).toContain(bad);
  broken = false;
  await exits.scan();
  expect(seen.get(bad)?.exitCode).toBe(3);
});

test('waiting ends for all who wait, and for one that gives up', async () => {
  const id = newId();
  const abort = new AbortController();
  const waiting = [exits.wait(id, NEVER), exits.wait(id, NEVER)];
  const givingUp = exits.wait(id, abort.signal);
  abort.abort(new Error('gave up'));
  await expect(givingUp).rejects.toThrow('gave up');
  exits.announce(id);
  await Promise.all(waiting);
});

test('a forgotten container has no exit, and nobody waits for it', async () => {
  await exits.start(async () => {
    throw new Error('not yet');
  });
  const id = newId();
  await exit(id, '0');
  const waiting = exits.wait(id, NEVER);
  await exits.forget(id);
  await waiting;
  expect(await readdir(directory)).toEqual([]);
});

test('a directory that vanishes ends nothing but the watch', async () => {
  await exits.start(remember);
  await rm(directory, { recursive: true });
  await exits.scan();
  expect(seen.size).toBe(0);
});
