import {
  type SecurityProfile as CriProfile,
  type Int64Value,
  type LinuxContainerSecurityContext,
  SecurityProfile_ProfileType as ProfileType,
  SupplementalGroupsPolicy,
} from '../gen/runtime/v1/api.ts';
import type { ContainerSecurity, SecurityProfile } from '../pods/index.ts';
import { invalid, required, toNumber } from './invalid.ts';
import { toNamespaceModes } from './sandbox-config.ts';

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
    runAsUser: toId('run_as_user', context?.runAsUser),
    runAsGroup: toId('run_as_group', context?.runAsGroup),
    runAsUsername: context?.runAsUsername ?? '',
    supplementalGroups: (context?.supplementalGroups ?? []).map((gid) =>
      checkId('supplemental_groups', gid),
    ),
    supplementalGroupsPolicy: toGroupsPolicy(context?.supplementalGroupsPolicy ?? 0),
    readonlyRootfs: context?.readonlyRootfs ?? false,
    noNewPrivileges: context?.noNewPrivs ?? false,
    maskedPaths: context?.maskedPaths ?? MASKED_PATHS,
    readonlyPaths: context?.readonlyPaths ?? READONLY_PATHS,
    seccomp: toProfile('seccomp', context?.seccomp, context?.seccompProfilePath ?? '') ?? {
      type: 'unconfined',
    },
    apparmor: toProfile('apparmor', context?.apparmor, context?.apparmorProfile ?? ''),
  };
}

function toId(name: string, given: Int64Value | undefined): number | undefined {
  return given === undefined ? undefined : checkId(name, given.value);
}

/** User and group ids have 32 bits; the last one means "nobody" to the kernel. */
function checkId(name: string, value: bigint): number {
  const id = toNumber(`${FIELD}.${name}`, value);
  if (id < 0 || id >= 2 ** 32 - 1) throw invalid(`${FIELD}.${name}`, `${id} is out of range`);
  return id;
}

function toGroupsPolicy(value: number): ContainerSecurity['supplementalGroupsPolicy'] {
  if (value === SupplementalGroupsPolicy.Merge) return 'merge';
  if (value === SupplementalGroupsPolicy.Strict) return 'strict';
  throw invalid(`${FIELD}.supplemental_groups_policy`, `there is no policy ${value}`);
}

/** The message, or else the string of older kubelets: `runtime/default`, `localhost/…`. */
function toProfile(
  name: string,
  profile: CriProfile | undefined,
  path: string,
): SecurityProfile | undefined {
  if (profile !== undefined) return fromMessage(`${FIELD}.${name}`, profile);
  if (path === '') return undefined;
  if (path === 'unconfined') return { type: 'unconfined' };
  if (path === 'runtime/default' || path === 'docker/default') return { type: 'runtime-default' };
  if (path.startsWith('localhost/')) {
    return { type: 'localhost', reference: path.slice('localhost/'.length) };
  }
  throw invalid(`${FIELD}.${name}`, `there is no profile "${path}"`);
}

function fromMessage(field: string, profile: CriProfile): SecurityProfile {
  switch (profile.profileType) {
    case ProfileType.RuntimeDefault:
      return { type: 'runtime-default' };
    case ProfileType.Unconfined:
      return { type: 'unconfined' };
    case ProfileType.Localhost:
      return {
        type: 'localhost',
        reference: required(`${field}.localhost_ref`, profile.localhostRef),
      };
    default:
      throw invalid(field, `there is no profile type ${profile.profileType}`);
  }
}
