import { describe, expect, test } from 'vitest';
import { defaultSeccomp } from './seccomp.ts';

const MODERN = { arch: 'x64', kernel: '6.1.0-18-amd64' };

/** What a profile does with a system call when its arguments match: the actions of its rules. */
function actionsOn(call: string, capabilities: string[] = [], host = MODERN): string[] {
  const rules = defaultSeccomp(capabilities, host).syscalls ?? [];
  return rules.filter(({ names }) => names.includes(call)).map(({ action }) => action);
}

test('what no rule names fails with EPERM', () => {
  expect(defaultSeccomp([], MODERN)).toMatchObject({
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 1,
  });
  for (const call of ['mount', 'keyctl', 'kexec_load', 'io_uring_setup', 'userfaultfd']) {
    expect(actionsOn(call)).toEqual([]);
  }
});

test.each([
  ['CAP_SYS_ADMIN', 'mount'],
  ['CAP_SYS_BOOT', 'reboot'],
  ['CAP_SYS_CHROOT', 'chroot'],
  ['CAP_SYS_MODULE', 'init_module'],
  ['CAP_SYS_PTRACE', 'kcmp'],
  ['CAP_SYS_TIME', 'clock_settime'],
  ['CAP_SYSLOG', 'syslog'],
  ['CAP_BPF', 'bpf'],
  ['CAP_PERFMON', 'perf_event_open'],
  ['CAP_DAC_READ_SEARCH', 'open_by_handle_at'],
])('%s allows %s', (capability, call) => {
  expect(actionsOn(call)).toEqual([]);
  expect(actionsOn(call, ['CAP_CHOWN', capability])).toContain('SCMP_ACT_ALLOW');
});

test('without CAP_SYS_ADMIN no namespace can be made', () => {
  const { syscalls = [] } = defaultSeccomp([], MODERN);
  const clone = syscalls.filter(({ names }) => names.includes('clone'));
  const newNamespaces = 0x7e020000;
  expect(clone.map(({ args }) => args)).toEqual([
    [{ index: 0, value: newNamespaces, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
  ]);
  // Its flags lie in memory, where no filter can look: the C library goes back to clone.
  const clone3 = syscalls.filter(({ names }) => names.includes('clone3'));
  expect(clone3).toMatchObject([{ action: 'SCMP_ACT_ERRNO', errnoRet: 38 }]);
  expect(actionsOn('unshare')).toEqual([]);
});

test('CAP_SYS_ADMIN lifts the limits on namespaces', () => {
  for (const call of ['clone', 'clone3', 'unshare', 'setns']) {
    expect(actionsOn(call, ['CAP_SYS_ADMIN'])).toEqual(['SCMP_ACT_ALLOW']);
  }
});

test('sockets of a virtual machine and of the crypto interface are refused', () => {
  const { syscalls = [] } = defaultSeccomp([], MODERN);
  const refused = (family: number) =>
    !syscalls
      .filter(({ names }) => names.includes('socket'))
      .some(({ args: [condition] = [] }) => {
        const { op, value = 0 } = condition ?? {};
        if (op === 'SCMP_CMP_LT') return family < value;
        return op === 'SCMP_CMP_GT' ? family > value : family === value;
      });
  expect([1, 2, 10, 16, 17, 39, 41].filter(refused)).toEqual([]);
  expect([38, 40].filter((family) => !refused(family))).toEqual([]);
});

describe('the kernel', () => {
  test.each([
    ['4.7.10', false],
    ['4.8', true],
    ['4.8-rc1', true],
    ['4.10.0', true],
    ['5.0.0-generic', true],
    ['3.19', false],
  ])('%s lets processes be traced: %s', (kernel, allowed) => {
    const actions = actionsOn('ptrace', [], { ...MODERN, kernel });
    expect(actions).toEqual(allowed ? ['SCMP_ACT_ALLOW'] : []);
  });
});

describe('the machine', () => {
  test.each([
    ['x64', ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']],
    ['arm64', ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']],
    ['s390x', ['SCMP_ARCH_S390X', 'SCMP_ARCH_S390']],
    ['riscv64', ['SCMP_ARCH_RISCV64']],
    ['unheard-of', undefined],
  ])('%s has the architectures %j', (arch, expected) => {
    expect(defaultSeccomp([], { ...MODERN, arch }).architectures).toEqual(expected);
  });

  test('has system calls of its own', () => {
    expect(actionsOn('arch_prctl')).toEqual(['SCMP_ACT_ALLOW']);
    expect(actionsOn('arch_prctl', [], { ...MODERN, arch: 'arm64' })).toEqual([]);
    expect(actionsOn('cacheflush')).toEqual([]);
    expect(actionsOn('cacheflush', [], { ...MODERN, arch: 'arm64' })).toEqual(['SCMP_ACT_ALLOW']);
  });

  test('s390x passes the flags of clone in another place', () => {
    const { syscalls = [] } = defaultSeccomp([], { ...MODERN, arch: 's390x' });
    const clone = syscalls.filter(({ names }) => names.includes('clone'));
    expect(clone.map(({ args }) => args?.[0]?.index)).toEqual([1]);
  });
});
