import {
  type LinuxContainerSecurityContext,
  SupplementalGroupsPolicy,
} from '../gen/runtime/v1/api.ts';
import type { ContainerSecurity } from '../pods/index.ts';
import { invalid } from './invalid.ts';
import { toNamespaceModes } from './namespace-modes.ts';
import { toId, toOptionalId, toProfile, toSelinux } from './security-profile.ts';

const FIELD = 'config.linux.security_context';

/** Paths hidden or protected in a container that comes without a security context, as a kubelet's. */
const MASKED_PATHS = [
  ...['/proc/asound', '/proc/acpi', '/proc/interrupts', '/proc/kcore', '/proc/keys'],
  ...['/proc/latency_stats', '/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug'],
  ...['/proc/scsi', '/sys/firmware', '/sys/devices/virtual/powercap'],
];
const READONLY_PATHS = [
  ...['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
];

/** Checks a container's security context and puts it into plain values. */
export function toSecurity(context: LinuxContainerSecurityContext | undefined): ContainerSecurity {
  const capabilities = context?.capabilities;
  return {
    privileged: context?.privileged ?? false,
    namespaces: toNamespaceModes(`${FIELD}.namespace_options`, context?.namespaceOptions),
    addCapabilities: capabilities?.addCapabilities ?? [],
    dropCapabilities: capabilities?.dropCapabilities ?? [],
    addAmbientCapabilities: capabilities?.addAmbientCapabilities ?? [],
    runAsUser: toOptionalId(`${FIELD}.run_as_user`, context?.runAsUser),
    runAsGroup: toOptionalId(`${FIELD}.run_as_group`, context?.runAsGroup),
    runAsUsername: context?.runAsUsername ?? '',
    supplementalGroups: (context?.supplementalGroups ?? []).map((gid) =>
      toId(`${FIELD}.supplemental_groups`, gid),
    ),
    supplementalGroupsPolicy: toGroupsPolicy(FIELD, context?.supplementalGroupsPolicy ?? 0),
    readonlyRootfs: context?.readonlyRootfs ?? false,
    noNewPrivileges: context?.noNewPrivs ?? false,
    maskedPaths: context?.maskedPaths ?? MASKED_PATHS,
    readonlyPaths: context?.readonlyPaths ?? READONLY_PATHS,
    seccomp: toProfile(`${FIELD}.seccomp`, context?.seccomp, context?.seccompProfilePath) ?? {
      type: 'unconfined',
    },
    apparmor: toProfile(`${FIELD}.apparmor`, context?.apparmor, context?.apparmorProfile),
    selinux: toSelinux(`${FIELD}.selinux_options`, context?.selinuxOptions),
  };
}

export function toGroupsPolicy(
  field: string,
  value: number,
): ContainerSecurity['supplementalGroupsPolicy'] {
  if (value === SupplementalGroupsPolicy.Merge) return 'merge';
  if (value === SupplementalGroupsPolicy.Strict) return 'strict';
  throw invalid(`${field}.supplemental_groups_policy`, `there is no policy ${value}`);
}
