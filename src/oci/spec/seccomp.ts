import { release } from 'node:os';
import type { Seccomp } from './runtime-config.ts';
import { DEFAULT_RULES, type SeccompConditions, SUB_ARCHITECTURES } from './seccomp-default.ts';

const MACHINE: Record<string, { go: string; seccomp: string }> = {
  x64: { go: 'amd64', seccomp: 'SCMP_ARCH_X86_64' },
  arm64: { go: 'arm64', seccomp: 'SCMP_ARCH_AARCH64' },
  arm: { go: 'arm', seccomp: 'SCMP_ARCH_ARM' },
  ppc64: { go: 'ppc64le', seccomp: 'SCMP_ARCH_PPC64LE' },
  s390x: { go: 's390x', seccomp: 'SCMP_ARCH_S390X' },
  riscv64: { go: 'riscv64', seccomp: 'SCMP_ARCH_RISCV64' },
  loong64: { go: 'loong64', seccomp: 'SCMP_ARCH_LOONGARCH64' },
};

/** The RuntimeDefault profile for a container with these capabilities in its bounding set. */
export function defaultSeccomp(
  capabilities: readonly string[],
  host: { arch: string; kernel: string } = { arch: process.arch, kernel: release() },
): Seccomp {
  const machine = MACHINE[host.arch];
  const holds = (conditions: SeccompConditions): boolean =>
    (conditions.caps?.some((cap) => capabilities.includes(cap)) ?? true) &&
    (conditions.arches?.includes(machine?.go ?? host.arch) ?? true) &&
    (conditions.minKernel === undefined || isAtLeast(host.kernel, conditions.minKernel));
  const meets = (excludes: SeccompConditions): boolean =>
    (excludes.caps?.some((cap) => capabilities.includes(cap)) ?? false) ||
    (excludes.arches?.includes(machine?.go ?? host.arch) ?? false);
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 1,
    ...(machine === undefined
      ? {}
      : { architectures: [machine.seccomp, ...(SUB_ARCHITECTURES[machine.seccomp] ?? [])] }),
    syscalls: DEFAULT_RULES.filter(
      ({ includes, excludes }) =>
        (includes === undefined || holds(includes)) && !(excludes !== undefined && meets(excludes)),
    ).map(({ rule }) => rule),
  };
}

function isAtLeast(kernel: string, minimum: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  const [wantedMajor = 0, wantedMinor = 0] = minimum.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
