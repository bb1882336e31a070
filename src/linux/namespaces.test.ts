import { existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { hostname, networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { setLoopbackUp } from './interfaces.ts';
import { listMounts } from './mounts.ts';
import {
  createPinnedNamespace,
  insideNamespace,
  type PinnableNamespace,
  removePinnedNamespace,
  setHostname,
  writeSysctl,
} from './namespaces.ts';

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-namespaces-'));
  path = join(directory, 'ns');
});
afterEach(async () => {
  await removePinnedNamespace(path);
  await rm(directory, { recursive: true });
});

const own = (type: PinnableNamespace) => readlinkSync(`/proc/thread-self/ns/${type}`);

test.each<PinnableNamespace>(['net', 'ipc', 'uts'])(
  'a %s namespace lives without a process until it is removed',
  async (type) => {
    const home = own(type);
    createPinnedNamespace(type, path);
    const inside = insideNamespace(type, path, () => own(type));
    expect(inside).not.toBe(home);
    expect(insideNamespace(type, path, () => own(type))).toBe(inside);
    expect(own(type)).toBe(home);
    await removePinnedNamespace(path);
    expect(existsSync(path)).toBe(false);
    expect(listMounts().some(({ target }) => target === path)).toBe(false);
  },
);

test('removing what is not there is fine', async () => {
  await removePinnedNamespace(path);
  writeFileSync(path, '');
  await removePinnedNamespace(path);
  expect(existsSync(path)).toBe(false);
});

test('a failing setup comes back home, and can be undone', async () => {
  const home = own('uts');
  const setup = () => {
    throw new Error('no');
  };
  expect(() => createPinnedNamespace('uts', path, setup)).toThrow('no');
  expect(own('uts')).toBe(home);
  await removePinnedNamespace(path);
  expect(existsSync(path)).toBe(false);
});

test('work that fails inside comes back home', () => {
  createPinnedNamespace('net', path);
  const home = own('net');
  const work = () => {
    throw new Error('no');
  };
  expect(() => insideNamespace('net', path, work)).toThrow('no');
  expect(own('net')).toBe(home);
});

test('a place that is taken is left alone', () => {
  writeFileSync(path, 'kept');
  expect(() => createPinnedNamespace('uts', path)).toThrow('EEXIST');
  expect(readFileSync(path, 'utf8')).toBe('kept');
});

test('a file that is no namespace is refused', () => {
  writeFileSync(path, '');
  expect(() => insideNamespace('net', path, () => {})).toThrow('enter net namespace: EINVAL');
});

test('the host name is that of the namespace alone', () => {
  const home = hostname();
  createPinnedNamespace('uts', path, () => setHostname('pod-ä'));
  expect(insideNamespace('uts', path, hostname)).toBe('pod-ä');
  expect(hostname()).toBe(home);
});

test('loopback is up after it was set up', () => {
  createPinnedNamespace('net', path);
  const addresses = () => Object.keys(networkInterfaces());
  expect(insideNamespace('net', path, addresses)).toEqual([]);
  insideNamespace('net', path, setLoopbackUp);
  expect(insideNamespace('net', path, addresses)).toEqual(['lo']);
});

describe('sysctls', () => {
  const read = (name: string) =>
    insideNamespace('net', path, () => readFileSync(`/proc/sys/net/ipv4/${name}`, 'utf8').trim());

  test.each([
    ['net.ipv4.ip_unprivileged_port_start', 'ip_unprivileged_port_start'],
    ['net/ipv4/ip_unprivileged_port_start', 'ip_unprivileged_port_start'],
    ['net.ipv4.conf.lo.forwarding', 'conf/lo/forwarding'],
  ])('are written by the name %s', (name, file) => {
    createPinnedNamespace('net', path, () => writeSysctl(name, '1'));
    expect(read(file)).toBe('1');
  });

  test.each(['', '.', 'net..ipv4', 'net.//.kernel.panic', '/etc/passwd', 'net.ipv4.', '../x'])(
    '%j is no name',
    (name) => expect(() => writeSysctl(name, '1')).toThrow(`Cannot set sysctl "${name}"`),
  );

  test('that this kernel does not have are named', () => {
    expect(() => writeSysctl('net.ipv4.keelson', '1')).toThrow(
      'Cannot set sysctl "net.ipv4.keelson" to "1": this kernel has no such sysctl',
    );
  });

  test('refuse values that the kernel refuses', () => {
    const write = () => writeSysctl('net.ipv4.ip_unprivileged_port_start', 'many');
    expect(() => createPinnedNamespace('net', path, write)).toThrow('EINVAL');
  });
});
