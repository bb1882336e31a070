import { beforeAll, expect, test } from 'vitest';
import type { DeepPartial, LinuxContainerSecurityContext } from '../../src/gen/runtime/v1/api.ts';
import { busyboxImage } from '../fixtures/image.ts';
import { containerConfig, createContainer, type Pod, runPod } from '../harness/index.ts';
import { codeOf, criSuite, runToEnd, shell } from './suite.ts';

const suite = criSuite();
let pod: Pod;

const FILES = [
  {
    path: 'etc/passwd',
    content:
      'root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/home:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n',
  },
  {
    path: 'etc/group',
    content: 'root:x:0:\nweb:x:1001:\nlogs:x:50:web,nobody\ndata:x:60:web\nnogroup:x:65534:\n',
  },
];

beforeAll(async () => {
  pod = await runPod(suite.daemon);
  await suite.add('accounts', busyboxImage({ files: FILES }));
});

const accounts = () => `${suite.registry.host}/accounts:1`;

/** Whom a container runs as, by its kernel and by its status. */
async function identity(
  securityContext: DeepPartial<LinuxContainerSecurityContext>,
  image = accounts(),
) {
  const script = 'grep -E "^(Uid|Gid|Groups):" /proc/self/status';
  const { status, lines } = await runToEnd(suite.daemon, pod, image, {
    ...shell(script),
    linux: { securityContext },
  });
  const [uid = '', gid = '', groups = ''] = lines.map((line) => line.split(':')[1]!.trim());
  const kernel = {
    uid: Number(uid.split(/\s+/)[1]),
    gid: Number(gid.split(/\s+/)[1]),
    groups: groups
      .split(/\s+/)
      .filter(Boolean)
      .map(Number)
      .sort((a, b) => a - b),
  };
  const { linux } = status.user!;
  expect([Number(linux!.uid), Number(linux!.gid)]).toEqual([kernel.uid, kernel.gid]);
  expect(linux!.supplementalGroups.map(Number).sort((a, b) => a - b)).toEqual(
    expect.arrayContaining(kernel.groups),
  );
  return kernel;
}

const id = (value: number) => ({ value: BigInt(value) });

test('a container runs as root of its image unless it says otherwise', async () => {
  expect(await identity({})).toMatchObject({ uid: 0, gid: 0 });
});

test('a numeric user has the group of its passwd entry, or 0 without one', async () => {
  expect(await identity({ runAsUser: id(1000) })).toMatchObject({ uid: 1000, gid: 1001 });
  expect(await identity({ runAsUser: id(4321) })).toMatchObject({ uid: 4321, gid: 0 });
});

test('a user is found by name in the image', async () => {
  const web = await identity({ runAsUsername: 'web' });
  expect(web).toEqual({ uid: 1000, gid: 1001, groups: [50, 60, 1001] });
});

test('a group given goes before that of the user', async () => {
  expect(await identity({ runAsUser: id(1000), runAsGroup: id(77) })).toMatchObject({
    uid: 1000,
    gid: 77,
  });
  expect(await identity({ runAsUsername: 'web', runAsGroup: id(78) })).toMatchObject({ gid: 78 });
});

test('groups are merged with memberships in the image, or are strictly those given', async () => {
  const user = { runAsUser: id(1000), supplementalGroups: [700n, 50n] };
  expect((await identity(user)).groups).toEqual([50, 60, 700, 1001]);
  const strict = await identity({ ...user, supplementalGroupsPolicy: 1 });
  expect(strict.groups).toEqual([50, 700, 1001]);
});

test("the image's user counts when the container names none", async () => {
  const add = async (User: string) => {
    const name = `as-${User.replaceAll(':', '-')}`;
    return suite.add(name, busyboxImage({ files: FILES, config: { User } }));
  };
  expect(await identity({}, await add('web'))).toMatchObject({ uid: 1000, gid: 1001 });
  expect(await identity({}, await add('1000:60'))).toMatchObject({ uid: 1000, gid: 60 });
  expect(await identity({}, await add('web:logs'))).toMatchObject({ uid: 1000, gid: 50 });
  expect(await identity({}, await add('4321'))).toMatchObject({ uid: 4321, gid: 0 });
  const overridden = await identity({ runAsUser: id(65534) }, await add('web:logs'));
  expect(overridden).toMatchObject({ uid: 65534, gid: 65534 });
});

test('what cannot be a user is refused', async () => {
  const create = (securityContext: object, image = accounts()) =>
    codeOf(
      createContainer(
        suite.daemon,
        pod,
        containerConfig(image, { ...shell('true'), linux: { securityContext } }),
      ),
    );
  expect(await create({ runAsUsername: 'nosuchuser' })).toBe('INVALID_ARGUMENT');
  expect(await create({ runAsGroup: id(5) })).toBe('INVALID_ARGUMENT');
  expect(await create({ runAsUser: { value: -1n } })).toBe('INVALID_ARGUMENT');
  expect(await create({ runAsUser: { value: 1n << 32n } })).toBe('INVALID_ARGUMENT');
  expect(await create({ supplementalGroups: [-5n] })).toBe('INVALID_ARGUMENT');
  expect(await create({ supplementalGroupsPolicy: 9 })).toBe('INVALID_ARGUMENT');
  const unknown = await suite.add('unknown', busyboxImage({ config: { User: 'ghost' } }));
  expect(await create({}, unknown)).toBe('INVALID_ARGUMENT');
});

test("a link in place of the image's passwd file does not lead out of the image", async () => {
  const files = [{ path: 'etc/passwd', type: 'symlink' as const, target: '/../../../etc/shadow' }];
  const image = await suite.add('linked', busyboxImage({ files }));
  const config = containerConfig(image, {
    linux: { securityContext: { runAsUsername: 'root' } },
  });
  expect(await codeOf(createContainer(suite.daemon, pod, config))).toBe('INVALID_ARGUMENT');
});
