import type { ContainerSpecRequest } from './container-spec.ts';
import type { DeviceRule, SpecMount } from './runtime-config.ts';

/**
 * What a container may do with devices unless it asks for more: nothing, but for the
 * nodes that the runtime specification has in each container.
 */
export const DEFAULT_DEVICE_RULES: readonly DeviceRule[] = [
  { allow: false, access: 'rwm' },
  ...[
    [1, 3], // null
    [1, 5], // zero
    [1, 7], // full
    [1, 8], // random
    [1, 9], // urandom
    [5, 0], // tty
    [5, 1], // console
    [5, 2], // ptmx
  ].map(([major, minor]) => ({
    allow: true,
    type: 'c' as const,
    major: major ?? 0,
    minor: minor ?? 0,
    access: 'rwm',
  })),
  { allow: true, type: 'c', major: 136, access: 'rwm' }, // pts/*
];

/** The mounts of each container before its own: what containerd gives too. */
export function defaultMounts(
  request: Pick<ContainerSpecRequest, 'privileged' | 'namespaces' | 'userMappings' | 'host'>,
): SpecMount[] {
  const readonly = request.privileged ? 'rw' : 'ro';
  const hidden = ['nosuid', 'noexec', 'nodev'];
  // A user namespace may mount sysfs only if it owns the network namespace.
  const mapped = request.userMappings !== undefined;
  const boundSys = mapped && !('network' in request.namespaces);
  // Likewise for queues. Without one, mounting shows the host's queues, wherever it has them.
  const boundQueues = mapped && !('ipc' in request.namespaces);
  // Mounted in the host's own namespace, cgroup v2 loses options such as nsdelegate for all.
  const boundCgroups = request.host.cgroupV2 && !('cgroup' in request.namespaces);
  const ofCgroups = [...hidden, 'relatime', readonly];
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: hidden },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    boundQueues
      ? {
          destination: '/dev/mqueue',
          type: 'bind',
          source: '/dev/mqueue',
          options: ['rbind', ...hidden],
        }
      : { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: hidden },
    boundSys
      ? { destination: '/sys', type: 'bind', source: '/sys', options: ['rbind', 'rro', ...hidden] }
      : { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...hidden, readonly] },
    boundCgroups
      ? {
          destination: '/sys/fs/cgroup',
          type: 'bind',
          source: '/sys/fs/cgroup',
          options: ['bind', ...ofCgroups],
        }
      : { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ofCgroups },
  ];
}
