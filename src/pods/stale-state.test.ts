import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SILENT } from '../base/index.ts';
import { bootId } from '../linux/index.ts';
import { discardOtherBoot } from './stale-state.ts';

let state: string;
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'keelson-stale-'));
  await mkdir(join(state, 'containers/c/bundle'), { recursive: true });
  await mkdir(join(state, 'sandboxes/s'), { recursive: true });
  await writeFile(join(state, 'keelson.sock'), '');
});
afterEach(() => rm(state, { recursive: true }));

const left = async () => (await readdir(state)).filter((name) => name !== 'boot-id').sort();
const ALL = ['containers', 'keelson.sock', 'sandboxes'];

test('state of another boot is discarded, and nothing else', async () => {
  await writeFile(join(state, 'boot-id'), 'another');
  await discardOtherBoot(state, SILENT);
  expect(await left()).toEqual(['keelson.sock']);
});

test('state of this boot stays', async () => {
  await writeFile(join(state, 'boot-id'), await bootId());
  await discardOtherBoot(state, SILENT);
  expect(await left()).toEqual(ALL);
});

test('state without a stamp stays', async () => {
  await discardOtherBoot(state, SILENT);
  expect(await left()).toEqual(ALL);
});

test('discarding that was cut short goes on at the next start', async () => {
  await writeFile(join(state, 'boot-id'), 'another');
  await discardOtherBoot(state, SILENT);
  await mkdir(join(state, 'containers/not-yet-deleted'), { recursive: true });
  await discardOtherBoot(state, SILENT);
  expect(await left()).toEqual(['keelson.sock']);
});
