import { expect, test } from 'vitest';
import { LinuxSandboxSecurityContext } from '../gen/runtime/v1/api.ts';
import { toSandboxSecurity } from './sandbox-security.ts';

type Given = Parameters<typeof LinuxSandboxSecurityContext.fromPartial>[0];

const convert = (given: Given) => toSandboxSecurity(LinuxSandboxSecurityContext.fromPartial(given));

test('a process that was given nothing is confined all the same', () => {
  expect(toSandboxSecurity(undefined)).toEqual(convert({}));
  expect(convert({}).seccomp).toEqual({ type: 'runtime-default' });
});

test('what is given is kept', () => {
  expect(
    convert({
      runAsUser: { value: 1000n },
      runAsGroup: { value: 0n },
      supplementalGroups: [5n],
      seccomp: { profileType: 2, localhostRef: '/profile.json' },
      apparmor: { profileType: 1 },
      selinuxOptions: { level: 's0:c1,c2' },
    }),
  ).toEqual({
    runAsUser: 1000,
    runAsGroup: 0,
    supplementalGroups: [5],
    seccomp: { type: 'localhost', reference: '/profile.json' },
    apparmor: { type: 'unconfined' },
    selinux: { user: '', role: '', type: '', level: 's0:c1,c2' },
  });
});

test.each<[Given, string]>([
  [{ runAsGroup: { value: 1n } }, 'run_as_group: it is given without run_as_user'],
  [{ runAsUser: { value: -1n } }, 'run_as_user: -1 is out of range'],
  [{ supplementalGroups: [4294967295n] }, 'out of range'],
  [{ supplementalGroupsPolicy: 7 as never }, 'there is no policy 7'],
  [{ seccomp: { profileType: 9 as never } }, 'there is no profile type 9'],
  [{ seccompProfilePath: 'localhost/a\0b' }, 'NUL byte'],
  [{ selinuxOptions: { user: 'a:b' } }, 'selinux_options.user: "a:b"'],
  [{ selinuxOptions: { level: 's0"' } }, 'selinux_options.level'],
  [{ selinuxOptions: { level: 's0,c4,c5' } }, 'selinux_options.level: "s0,c4,c5"'],
])('%o is refused', (given, reason) => {
  expect(() => convert(given)).toThrow(reason);
});

test.each(['s0', 's0:c4,c5', 's0-s0', 's0-s0:c0.c1023', 's0:c1,c3.c5', 's0:c1-s15:c1,c2'])(
  'SELinux: "%s" is a level',
  (level) => expect(convert({ selinuxOptions: { level } }).selinux?.level).toBe(level),
);
