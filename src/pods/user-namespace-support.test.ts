import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { listMounts } from '../linux/index.ts';
import { UserNamespaceSupport } from './user-namespace-support.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-userns-'));
});
afterEach(() => rm(directory, { recursive: true }));

const CRUN = { type: 'crun', handler: 'crun' } as const;

test('a host that can is found to, and nothing of the look is left', async () => {
  const support = new UserNamespaceSupport({ stateDirectory: directory, rootDirectory: directory });
  expect(await support.problem(CRUN)).toBeUndefined();
  await support.demand(CRUN);
  expect(existsSync(join(directory, 'user-namespace-probe'))).toBe(false);
  expect(listMounts().filter(({ target }) => target.startsWith(directory))).toEqual([]);
});

test('a file system that cannot be mapped is named, and looked at again', async () => {
  const places = { stateDirectory: directory, rootDirectory: '/proc' };
  const support = new UserNamespaceSupport(places);
  expect(await support.problem(CRUN)).toContain('Cannot map the owners of "/proc"');
  await expect(support.demand(CRUN)).rejects.toThrow('Cannot give a pod a user namespace');
  expect(listMounts().filter(({ target }) => target.startsWith(directory))).toEqual([]);
  places.rootDirectory = directory;
  expect(await support.problem(CRUN)).toBeUndefined();
});

test('a runtime with a kernel of its own has none', async () => {
  const support = new UserNamespaceSupport({ stateDirectory: directory, rootDirectory: directory });
  const problem = await support.problem({ type: 'runsc', handler: 'gvisor' });
  expect(problem).toBe('runtime handler "gvisor" has none');
});
