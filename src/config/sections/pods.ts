import { z } from 'zod';
import { described, path, program, size } from '../keys.ts';

/** [conmon]: the monitor of each container. */
export const conmon = z.strictObject({
  path: described(program().default('conmon'), 'The program: a path, or a name in PATH.'),
});

/** [cgroup]: who makes cgroups. */
export const cgroup = z.strictObject({
  driver: described(
    z.enum(['auto', 'cgroupfs', 'systemd']).default('auto'),
    'Who makes cgroups. With auto: systemd where it runs the host, else cgroupfs.',
  ),
});

/** [containers]: what holds for all containers. */
export const containers = z.strictObject({
  cdi_spec_dirs: described(
    z.array(path()).default(['/etc/cdi', '/var/run/cdi']),
    'Directories with documents of the Container Device Interface. Of two with a device, the later one counts.',
    { separator: ':' },
  ),
  pids_limit: described(
    z.int().min(0).default(0),
    'Most processes of a container. 0: no limit but those of the pod.',
  ),
  restore_checkpoints: described(
    z.boolean().default(false),
    'Make containers from checkpoint archives and images. Who can name one can run anything as root: criu believes what they say.',
  ),
  log_size_max: described(
    size().prefault(0),
    'Most bytes of a log file; it is emptied and begun anew beyond. 0: no limit, for a kubelet rotates logs.',
    { format: 'size' },
  ),
});

const MEBIBYTE = 1024 * 1024;

/** [sandbox]: what pods have beside their containers. */
export const sandbox = z.strictObject({
  init_path: described(
    program().default('catatonit'),
    'The init of pods that share one PID namespace: a path, or a name in PATH.',
  ),
  shm_size: described(size().prefault(64 * MEBIBYTE), 'Size of /dev/shm of a pod.', {
    format: 'size',
  }),
});
