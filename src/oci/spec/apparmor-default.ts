/**
 * The AppArmor policy of the RuntimeDefault profile, in the language of apparmor.d(5): what
 * containers need, without mounts, without writes to what /proc and /sys show of the host,
 * with signals and traces among the containers of this profile only.
 *
 * `withAbstractions`: whether the node has AppArmor's usual files to include.
 */
export function defaultApparmorPolicy(name: string, withAbstractions: boolean): string {
  const include = (file: string) => (withAbstractions ? [`include <${file}>`] : []);
  const rules = [
    ...include('abstractions/base'),
    ...['network,', 'capability,', 'file,', 'umount,'],
    ...['unconfined', 'runc', 'crun', name].map((peer) => `signal (receive) peer=${peer},`),
    `signal (send, receive) peer=${name},`,
    `ptrace (trace, tracedby, read, readby) peer=${name},`,
    'deny mount,',
    ...DENIED,
  ];
  return [
    ...(withAbstractions ? ['include <tunables/global>'] : []),
    `profile ${name} flags=(attach_disconnected,mediate_deleted) {`,
    ...rules.map((rule) => `  ${rule}`),
    '}',
    '',
  ].join('\n');
}

/** In /proc only the directories of processes and sys/kernel/shm* may be written. */
const DENIED = [
  'deny @{PROC}/* w,',
  'deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,',
  'deny @{PROC}/sys/[^k]** w,',
  'deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,',
  'deny @{PROC}/sysrq-trigger rwklx,',
  'deny @{PROC}/kcore rwklx,',
  'deny /sys/[^f]*/** wklx,',
  'deny /sys/f[^s]*/** wklx,',
  'deny /sys/fs/[^c]*/** wklx,',
  'deny /sys/fs/c[^g]*/** wklx,',
  'deny /sys/fs/cg[^r]*/** wklx,',
  'deny /sys/firmware/** rwklx,',
  'deny /sys/devices/virtual/powercap/** rwklx,',
  'deny /sys/kernel/security/** rwklx,',
].map((rule) => rule.replace('@{PROC}', '/proc'));
