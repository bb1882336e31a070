import { describe, expect, test } from 'vitest';
import { LinuxContainerSecurityContext } from '../gen/runtime/v1/api.ts';
import { toSecurity } from './container-security.ts';

const convert = (context: object) => toSecurity(LinuxContainerSecurityContext.fromPartial(context));

test('a container without a context is an ordinary one', () => {
  expect(toSecurity(undefined)).toMatchObject({
    privileged: false,
    namespaces: { network: 'pod', ipc: 'pod', pid: 'pod' },
    ...{ addCapabilities: [], dropCapabilities: [], addAmbientCapabilities: [] },
    ...{ runAsUser: undefined, runAsGroup: undefined, runAsUsername: '' },
    supplementalGroupsPolicy: 'merge',
    ...{ seccomp: { type: 'unconfined' }, apparmor: undefined },
    maskedPaths: expect.arrayContaining(['/proc/kcore']),
    readonlyPaths: expect.arrayContaining(['/proc/sys']),
  });
});

test('a context without paths hides and protects none', () => {
  expect(convert({})).toMatchObject({ maskedPaths: [], readonlyPaths: [] });
});

test('capabilities are read', () => {
  const capabilities = {
    ...{ addCapabilities: ['NET_ADMIN'], dropCapabilities: ['ALL'] },
    addAmbientCapabilities: ['CHOWN'],
  };
  expect(convert({ capabilities })).toMatchObject(capabilities);
});

describe('ids', () => {
  test.each([0n, 1000n, 4294967294n])('%i is one', (value) => {
    const ids = convert({
      runAsUser: { value },
      runAsGroup: { value },
      supplementalGroups: [value],
    });
    const id = Number(value);
    expect(ids).toMatchObject({ runAsUser: id, runAsGroup: id, supplementalGroups: [id] });
  });

  test.each([-1n, 4294967295n, 2n ** 62n])('%i is none', (value) => {
    for (const context of [{ runAsUser: { value } }, { runAsGroup: { value } }]) {
      expect(() => convert(context)).toThrow('is out of range');
    }
    expect(() => convert({ supplementalGroups: [0n, value] })).toThrow('is out of range');
  });

  test('are merged with those of the image, or strict', () => {
    expect(convert({ supplementalGroupsPolicy: 1 }).supplementalGroupsPolicy).toBe('strict');
    expect(() => convert({ supplementalGroupsPolicy: 2 })).toThrow('there is no policy 2');
  });
});

describe('a profile', () => {
  test.each([
    [{ profileType: 0 }, { type: 'runtime-default' }],
    [{ profileType: 1 }, { type: 'unconfined' }],
    [
      { profileType: 2, localhostRef: '/p.json' },
      { type: 'localhost', reference: '/p.json' },
    ],
  ])('%j is understood', (given, profile) => {
    expect(convert({ seccomp: given, apparmor: given })).toMatchObject({
      seccomp: profile,
      apparmor: profile,
    });
  });

  test.each([
    [{ profileType: 2 }, 'seccomp.localhost_ref: it is missing'],
    [{ profileType: 7 }, 'there is no profile type 7'],
  ])('%j is refused', (seccomp, reason) => expect(() => convert({ seccomp })).toThrow(reason));

  test.each([
    ['unconfined', { type: 'unconfined' }],
    ['runtime/default', { type: 'runtime-default' }],
    ['docker/default', { type: 'runtime-default' }],
    ['localhost//p.json', { type: 'localhost', reference: '/p.json' }],
  ])('of an older kubelet, %j, is understood', (path, profile) => {
    expect(convert({ seccompProfilePath: path, apparmorProfile: path })).toMatchObject({
      seccomp: profile,
      apparmor: profile,
    });
  });

  test('of an older kubelet gives way to the message', () => {
    const given = { seccomp: { profileType: 0 }, seccompProfilePath: 'unconfined' };
    expect(convert(given).seccomp).toEqual({ type: 'runtime-default' });
  });

  test('of an unknown name is refused', () => {
    expect(() => convert({ apparmorProfile: 'mine' })).toThrow('there is no profile "mine"');
  });
});
