import { KeelsonError } from '../../base/index.ts';
import type { Capabilities } from './runtime-config.ts';

/** Capabilities in the order of their numbers (linux/capability.h). */
const ALL = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
].map((name) => `CAP_${name}`);

/** What a container gets when it asks for nothing: the set of containerd and Docker. */
const DEFAULT = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FSETID',
  'FOWNER',
  'MKNOD',
  'NET_RAW',
  'SETGID',
  'SETUID',
  'SETFCAP',
  'SETPCAP',
  'NET_BIND_SERVICE',
  'SYS_CHROOT',
  'KILL',
  'AUDIT_WRITE',
].map((name) => `CAP_${name}`);

export interface CapabilityChanges {
  /** Names without `CAP_` in any case, or `ALL`. */
  add: readonly string[];
  drop: readonly string[];
  addAmbient: readonly string[];
}

/**
 * The capability sets of a container. `ALL` counts before single names, and adding
 * before dropping. `bounding` is the node's own bounding set: nobody can get more, so
 * ALL and privileged mean this set.
 */
export function capabilitiesFor(
  changes: CapabilityChanges,
  options: { privileged: boolean; bounding: ReadonlySet<string> },
): Capabilities {
  const available = ALL.filter((name) => options.bounding.has(name));
  const named = (list: readonly string[]) =>
    list.filter((name) => !isAll(name)).map((name) => qualify(name));
  let set = new Set(options.privileged || changes.add.some(isAll) ? available : DEFAULT);
  if (changes.drop.some(isAll) && !options.privileged) set = new Set();
  const ambient = named(changes.addAmbient);
  for (const name of [...named(changes.add), ...ambient]) set.add(name);
  if (!options.privileged) for (const name of named(changes.drop)) set.delete(name);
  const list = ALL.filter((name) => set.has(name) && options.bounding.has(name));
  return {
    bounding: list,
    effective: list,
    permitted: list,
    inheritable: ambient.filter((name) => list.includes(name)),
    ambient: ambient.filter((name) => list.includes(name)),
  };
}

/** The names in a capability mask of /proc/PID/status, such as `000001fffeffffff`. */
export function parseCapabilityMask(hex: string): Set<string> {
  const mask = BigInt(`0x${hex}`);
  return new Set(ALL.filter((_, number) => (mask >> BigInt(number)) & 1n));
}

function isAll(name: string): boolean {
  return name.toUpperCase() === 'ALL';
}

function qualify(name: string): string {
  const upper = name.toUpperCase();
  const qualified = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!ALL.includes(qualified)) {
    throw new KeelsonError('INVALID_ARGUMENT', `Unknown capability "${name}"`);
  }
  return qualified;
}
