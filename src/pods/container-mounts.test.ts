import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bindMount, MS, mount, unmountAll } from '../linux/index.ts';
import type { MountConfig } from './config.ts';
import {
  requestedMounts,
  resolveSource,
  rootfsPropagation,
  sandboxMounts,
} from './container-mounts.ts';
import type { SandboxRecord } from './records.ts';

let directory: string;
let source: string;
beforeEach(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'keelson-mounts-')));
  source = join(directory, 'source');
  await mkdir(source);
});
afterEach(async () => {
  unmountAll(source);
  await rm(directory, { recursive: true });
});

function asked(changes: Partial<MountConfig> = {}): MountConfig {
  return {
    containerPath: '/data',
    hostPath: source,
    image: undefined,
    imageSubPath: '',
    uidMappings: [],
    gidMappings: [],
    readonly: false,
    recursiveReadOnly: false,
    propagation: 'private',
    selinuxRelabel: false,
    options: [],
    ...changes,
  };
}

async function resolved(changes: Partial<MountConfig> = {}, options = ['rro']) {
  const wanted = asked(changes);
  const [mount] = requestedMounts([wanted], [await resolveSource(wanted.hostPath)], { options });
  return mount!;
}

describe('a mount', () => {
  test('is bound with all below it', async () => {
    expect(await resolved()).toEqual({
      destination: '/data',
      type: 'bind',
      source,
      options: ['rbind', 'rprivate', 'rw'],
    });
  });

  test('may be read-only and take options of its own', async () => {
    const { options } = await resolved({ readonly: true, options: ['noexec', 'nosuid'] });
    expect(options).toEqual(['rbind', 'rprivate', 'ro', 'noexec', 'nosuid']);
  });

  test.each([
    ['data', '/data'],
    ['/a/../data/', '/data'],
    ['/../../etc', '/etc'],
  ])('on %j goes to %s', async (containerPath, destination) => {
    expect((await resolved({ containerPath })).destination).toBe(destination);
  });

  test('has what a link leads to as its source', async () => {
    await symlink('source', join(directory, 'link'));
    expect((await resolved({ hostPath: join(directory, 'link') })).source).toBe(source);
  });

  test('gets a directory where there is nothing on the host', async () => {
    const hostPath = join(directory, 'new/deep');
    expect((await resolved({ hostPath })).source).toBe(hostPath);
    expect(existsSync(hostPath)).toBe(true);
  });

  test('of a file makes no directory', async () => {
    const hostPath = join(directory, 'file');
    await writeFile(hostPath, '');
    expect((await resolved({ hostPath })).source).toBe(hostPath);
  });
});

describe('recursive read-only', () => {
  const recursive = { readonly: true, recursiveReadOnly: true };

  test('is an option of its own', async () => {
    expect((await resolved(recursive)).options).toEqual(['rbind', 'rprivate', 'rro']);
  });

  test.each([
    ['a mount that is writable', { ...recursive, readonly: false }, ['rro']],
    ['a runtime without it', recursive, ['ro', 'rw']],
  ])('is refused for %s', async (_what, changes, options) => {
    await expect(resolved(changes, options)).rejects.toThrow(/^RROUnsupported: Cannot mount/);
  });

  test('is refused for a runtime that does not say what it knows', async () => {
    const features = { options: undefined };
    expect(() => requestedMounts([asked(recursive)], [source], features)).toThrow('RROUnsupported');
  });

  test('is refused with propagation', async () => {
    bindMount(source, source);
    mount({ target: source, flags: MS.SHARED });
    await expect(resolved({ ...recursive, propagation: 'host-to-container' })).rejects.toThrow(
      'recursive_read_only needs PRIVATE propagation',
    );
  });
});

describe('propagation', () => {
  test.each([
    ['host-to-container', MS.SHARED, 'rslave'],
    ['bidirectional', MS.SHARED, 'rshared'],
  ] as const)('%s works on a shared mount', async (propagation, flags, option) => {
    bindMount(source, source);
    mount({ target: source, flags });
    await mkdir(join(source, 'below'));
    const { options } = await resolved({ propagation, hostPath: join(source, 'below') });
    expect(options).toContain(option);
  });

  test('from the host works on a slave mount, to the host does not', async () => {
    bindMount(source, source);
    mount({ target: source, flags: MS.SHARED });
    bindMount(source, source);
    mount({ target: source, flags: MS.SLAVE });
    expect((await resolved({ propagation: 'host-to-container' })).options).toContain('rslave');
    await expect(resolved({ propagation: 'bidirectional' })).rejects.toThrow(
      `it lies on mount "${source}", which is not a shared mount`,
    );
  });

  test('is refused on a private mount, with a hint', async () => {
    bindMount(source, source);
    mount({ target: source, flags: MS.PRIVATE });
    await expect(resolved({ propagation: 'host-to-container' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      hint: `make it one: mount --make-rshared ${source}`,
    });
  });

  test.each([
    [[], 'rprivate'],
    [['private', 'host-to-container'], 'rslave'],
    [['host-to-container', 'bidirectional', 'private'], 'rshared'],
  ] as const)('%j makes the root filesystem %s', (modes, expected) => {
    const mounts = modes.map((propagation) => asked({ propagation }));
    expect(rootfsPropagation(mounts)).toBe(expected);
  });
});

describe('the files of the sandbox', () => {
  const sandbox = (namespaces: object) => ({ namespaces }) as SandboxRecord;
  const places = (containerPaths: string[], readonlyRootfs = false) =>
    sandboxMounts(sandbox({ ipc: '/ns/ipc' }), '/sandbox', {
      mounts: containerPaths.map((containerPath) => asked({ containerPath })),
      readonlyRootfs,
    });

  test('are mounted where a container expects them', () => {
    expect(places([]).map(({ destination, source }) => [destination, source])).toEqual([
      ['/etc/hostname', '/sandbox/hostname'],
      ['/etc/hosts', '/sandbox/hosts'],
      ['/etc/resolv.conf', '/sandbox/resolv.conf'],
      ['/dev/shm', '/sandbox/shm'],
    ]);
  });

  test('give way to mounts of the container, however these are written', () => {
    const left = places(['/etc/hosts/', 'dev/shm']).map(({ destination }) => destination);
    expect(left).toEqual(['/etc/hostname', '/etc/resolv.conf']);
  });

  test('are read-only with the root filesystem, but for the shared memory', () => {
    const access = (readonlyRootfs: boolean) =>
      places([], readonlyRootfs).map(({ options }) => (options?.includes('ro') ? 'ro' : 'rw'));
    expect(access(true)).toEqual(['ro', 'ro', 'ro', 'rw']);
    expect(access(false)).toEqual(['rw', 'rw', 'rw', 'rw']);
  });

  test('have the host’s shared memory where the pod uses its IPC', () => {
    const mounts = sandboxMounts(sandbox({}), '/sandbox', { mounts: [], readonlyRootfs: false });
    expect(mounts.at(-1)).toMatchObject({ destination: '/dev/shm', source: '/dev/shm' });
  });
});
