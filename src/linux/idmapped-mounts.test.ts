import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { mountIdmapped } from './idmapped-mounts.ts';
import { unmountAll } from './mounts.ts';
import { insideNamespace, removePinnedNamespace } from './namespaces.ts';
import { createUserNamespace, writeSysctlAsOwner } from './user-namespaces.ts';

const IDS = { containerId: 0, hostId: 300_000, length: 65_536 };

let directory: string;
let user: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-idmap-'));
  user = join(directory, 'user');
});
afterEach(async () => {
  for (const name of ['target', 'user', 'ipc']) unmountAll(join(directory, name));
  await rm(directory, { recursive: true });
});

test('owners are shown by the mapping, and what is written is stored by it', async () => {
  const [source, target] = [join(directory, 'source'), join(directory, 'target')];
  await mkdir(source);
  await mkdir(target);
  await writeFile(join(source, 'file'), 'text');
  await createUserNamespace({ uids: IDS, gids: IDS, path: user, owned: {} });
  const fd = openSync(user, 'r');
  try {
    mountIdmapped({ source, target, userNamespace: fd });
  } finally {
    closeSync(fd);
  }
  const info = await stat(join(target, 'file'));
  expect([info.uid, info.gid]).toEqual([300_000, 300_000]);
  expect((await stat(join(source, 'file'))).uid).toBe(0);
  await removePinnedNamespace(user);
  expect((await stat(join(target, 'file'))).uid).toBe(300_000);
});

test('what cannot be mapped is an error, and nothing is mounted', async () => {
  const target = join(directory, 'target');
  await mkdir(target);
  await createUserNamespace({ uids: IDS, gids: IDS, path: user, owned: {} });
  const fd = openSync(user, 'r');
  try {
    expect(() => mountIdmapped({ source: '/proc', target, userNamespace: fd })).toThrow('/proc');
  } finally {
    closeSync(fd);
  }
  expect((await stat(target)).dev).toBe((await stat(directory)).dev);
});

test('namespaces made along belong to it: its root sets their sysctls', async () => {
  const ipc = join(directory, 'ipc');
  await createUserNamespace({ uids: IDS, gids: IDS, path: user, owned: { ipc } });
  await writeSysctlAsOwner('kernel.shmmax', '7654321', { user, ipc });
  const before = await readlink('/proc/self/ns/ipc');
  const inside = insideNamespace('ipc', ipc, () => readFileSync('/proc/sys/kernel/shmmax', 'utf8'));
  expect(inside.trim()).toBe('7654321');
  expect(await readlink('/proc/self/ns/ipc')).toBe(before);
  expect(await readFile('/proc/sys/kernel/shmmax', 'utf8')).not.toContain('7654321');
  const wrong = writeSysctlAsOwner('kernel.shmmax', 'text', { user, ipc });
  await expect(wrong).rejects.toThrow('Cannot set sysctl "kernel.shmmax" to "text"');
});

test('ids that the kernel does not take are an error that leaves no program', async () => {
  const none = { ...IDS, length: 0 };
  await expect(
    createUserNamespace({ uids: none, gids: IDS, path: user, owned: {} }),
  ).rejects.toThrow('EINVAL');
});
