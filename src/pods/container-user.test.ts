import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeNode, S_IF } from '../linux/index.ts';
import type { ContainerSecurity } from './config.ts';
import { homeDirectoryOf, resolveUser } from './container-user.ts';

const PASSWD = `root:x:0:0:root:/root:/bin/sh
web:x:1000:1001:Web:/:/bin/sh
1234:x:0:0:an account of root by a number:/:/bin/sh
`;
const GROUP = `root:x:0:
web:x:1001:
audio:x:29:web,other
1001:x:0:
999:x:0:web
video:x:44:web
`;

let directory: string;
let rootfs: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-user-'));
  rootfs = join(directory, 'rootfs');
  await mkdir(join(rootfs, 'etc'), { recursive: true });
});
afterEach(() => rm(directory, { recursive: true }));

const write = async (passwd: string, group: string) => {
  await writeFile(join(rootfs, 'etc/passwd'), passwd);
  await writeFile(join(rootfs, 'etc/group'), group);
};

function resolve(asked: Partial<ContainerSecurity>, imageUser = '') {
  const nothing = {
    ...{ runAsUser: undefined, runAsGroup: undefined, runAsUsername: '' },
    ...{ supplementalGroups: [], supplementalGroupsPolicy: 'merge' },
  };
  return resolveUser({ ...nothing, ...asked } as ContainerSecurity, imageUser, rootfs);
}

describe('the user of an image', () => {
  beforeEach(() => write(PASSWD, GROUP));

  test.each([
    ['', 0, 0, [0]],
    ['web', 1000, 1001, [0, 29, 44, 1001]],
    ['1000', 1000, 1001, [0, 29, 44, 1001]],
    ['01000', 1000, 1001, [0, 29, 44, 1001]],
    ['4711', 4711, 0, [0]],
    ['web:audio', 1000, 29, [29]],
    ['web:77', 1000, 77, [77]],
    ['1000:1000', 1000, 1000, [1000]],
    [':audio', 0, 29, [29]],
    ['web:', 1000, 1001, [0, 29, 44, 1001]],
  ])('%j is resolved', (imageUser, uid, gid, supplementalGroups) => {
    expect(resolve({}, imageUser)).toEqual({ uid, gid, supplementalGroups });
  });

  test('that is a number is never the name of another account', () => {
    expect(resolve({}, '1234')).toMatchObject({ uid: 1234, gid: 0 });
    expect(resolve({}, 'web:1001')).toMatchObject({ uid: 1000, gid: 1001 });
  });

  test.each(['nobody', 'web2', '-1', '4294967295', '99999999999', '0x0', '1e3', 'we b'])(
    '%j is refused',
    (name) => {
      expect(() => resolve({}, name)).toThrow(
        `Cannot run a container as user "${name}": the image's /etc/passwd has no such user`,
      );
    },
  );

  test('with a group that is not there is refused', () => {
    expect(() => resolve({}, 'web:nogroup')).toThrow(
      `Cannot run a container with group "nogroup": the image's /etc/group has no such group`,
    );
  });
});

describe('the user asked for', () => {
  beforeEach(() => write(PASSWD, GROUP));

  test('comes before that of the image, whose group then does not count', () => {
    expect(resolve({ runAsUser: 0 }, 'web:audio')).toMatchObject({ uid: 0, gid: 0 });
    expect(resolve({ runAsUsername: 'web' }, '0:0')).toMatchObject({ uid: 1000, gid: 1001 });
  });

  test('by number cannot become root by the image’s passwd', () => {
    expect(resolve({ runAsUser: 1234 }).uid).toBe(1234);
    expect(resolve({ runAsUsername: '1234' }).uid).toBe(1234);
  });

  test('may have a primary group that the image does not know', () => {
    expect(resolve({ runAsUser: 1000, runAsGroup: 5 })).toEqual({
      uid: 1000,
      gid: 5,
      supplementalGroups: [0, 5, 29, 44],
    });
  });

  test('cannot be a group alone', () => {
    expect(() => resolve({ runAsGroup: 5 })).toThrow('Cannot run a container as a group alone');
  });

  test('has groups asked for beside those of the image', () => {
    expect(resolve({ runAsUser: 1000, supplementalGroups: [29, 7] }).supplementalGroups).toEqual([
      ...[0, 7, 29, 44, 1001],
    ]);
  });

  test('has only the groups asked for where the policy is strict', () => {
    const supplementalGroupsPolicy = 'strict';
    const asked = { runAsUser: 1000, supplementalGroupsPolicy } as const;
    expect(resolve({ ...asked, supplementalGroups: [7] }).supplementalGroups).toEqual([7, 1001]);
  });
});

describe('hostile accounts', () => {
  test.each([
    ['too few fields', 'web:x:1000\n'],
    ['an id that is no number', 'web:x:root:0::/:\n'],
    ['an id beyond all', 'web:x:4294967296:0::/:\n'],
    ['the id that means nobody', 'web:x:4294967295:0::/:\n'],
    ['a negative id', 'web:x:-5:0::/:\n'],
    ['no name', ':x:1000:1000::/:\n'],
    ['what NIS would add', '+web::::::\n'],
    ['nothing at all', '\0\0\n\n::::\n'],
  ])('with %s do not count', async (_what, passwd) => {
    await write(passwd, '');
    expect(() => resolve({}, 'web')).toThrow('has no such user');
    expect(resolve({}, '')).toMatchObject({ uid: 0, gid: 0 });
  });

  test('the first of two with one name counts', async () => {
    await write('web:x:1:1::/:\nweb:x:0:0::/:\n', '');
    expect(resolve({}, 'web')).toMatchObject({ uid: 1, gid: 1 });
  });

  test('with names of built-in properties are only names', async () => {
    await write('constructor:x:5:5::/:\n', '__proto__:x:6:constructor\n');
    expect(resolve({}, 'constructor')).toMatchObject({ uid: 5, supplementalGroups: [5, 6] });
    expect(() => resolve({}, 'toString')).toThrow('has no such user');
  });

  test('are not read from the host', async () => {
    await writeFile(join(directory, 'passwd'), 'web:x:0:0::/:\n');
    await symlink('../../passwd', join(rootfs, 'etc/passwd'));
    expect(() => resolve({}, 'web')).toThrow('has no such user');
  });

  test('may lie behind a link that stays inside the image', async () => {
    await mkdir(join(rootfs, 'lib'));
    await writeFile(join(rootfs, 'lib/passwd'), 'web:x:8:9::/:\n');
    await symlink('/lib/passwd', join(rootfs, 'etc/passwd'));
    expect(resolve({}, 'web')).toMatchObject({ uid: 8, gid: 9 });
  });

  test('that are a FIFO or too large are refused', async () => {
    makeNode(join(rootfs, 'etc/passwd'), S_IF.FIFO | 0o644);
    expect(() => resolve({}, 'web')).toThrow('it is not a regular file');
    await rm(join(rootfs, 'etc/passwd'));
    await writeFile(join(rootfs, 'etc/passwd'), '');
    await truncate(join(rootfs, 'etc/passwd'), 1 << 30);
    expect(() => resolve({}, 'web')).toThrow('larger than');
  });

  test('are not needed for numbers', async () => {
    await rm(join(rootfs, 'etc'), { recursive: true });
    expect(resolve({}, '5:6')).toEqual({ uid: 5, gid: 6, supplementalGroups: [6] });
  });
});

describe('the home directory of a user', () => {
  test('is that of the first line with the id', async () => {
    await write('a:x:1:1:A:/first:/bin/sh\nb:x:1:1:B:/second:/bin/sh\nc:x:2:2::\n', GROUP);
    expect(homeDirectoryOf(rootfs, 1)).toBe('/first');
  });

  test('is / where none is named', async () => {
    await write('c:x:2:2::\n', GROUP);
    expect(homeDirectoryOf(rootfs, 2)).toBe('/');
    expect(homeDirectoryOf(rootfs, 3)).toBe('/');
    await rm(join(rootfs, 'etc'), { recursive: true });
    expect(homeDirectoryOf(rootfs, 2)).toBe('/');
  });
});
