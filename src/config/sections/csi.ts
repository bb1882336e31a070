import { z } from 'zod';
import { described, duration, path } from '../keys.ts';

/** [csi]: volumes. */
export const csi = z.strictObject({
  enabled: described(
    z.boolean().default(true),
    'Serve volumes: CSI drivers may register, and "keelson volume" works.',
  ),
  root: described(
    path().optional(),
    'What a kubelet calls its root directory: mounts of volumes lie below, in its layout. It must lie on a mount that a driver in a container can share.',
    { derived: '<root>/csi/kubelet', example: '/var/lib/kubelet' },
  ),
  registration_dir: described(
    path().optional(),
    'Directory where drivers put their registration sockets; it is watched.',
    { derived: '<csi.root>/plugins_registry', example: '/var/lib/kubelet/plugins_registry' },
  ),
  endpoints: described(
    z.array(z.string().regex(/^unix:\/\/\/.+$/, 'must be unix:///PATH')).default([]),
    'Sockets of drivers that register nowhere.',
    { separator: ',' },
  ),
  local_path_dir: described(
    path().optional(),
    'Directory for volumes of this disk. If set, the daemon serves the host-path driver itself, and claims that name no storage class get the class local-path.',
    { example: '/var/lib/keelson/local-path' },
  ),
  secrets_dir: described(
    path().default('/etc/keelson/secrets'),
    'Directory with the secrets of volumes: manifests of kind Secret at NAMESPACE/NAME.yaml, for root alone.',
  ),
  node_name: described(
    z
      .string()
      .regex(/^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/, 'is no name of a node')
      .optional(),
    'Name of this node in volume objects.',
    { derived: 'the host name', example: 'node-1' },
  ),
  call_timeout: described(duration().prefault('2m'), 'How long one call of a driver may take.', {
    format: 'duration',
  }),
  attach_timeout: described(
    duration().prefault('2m'),
    'How long a pod waits for its volume to be attached.',
    { format: 'duration' },
  ),
  busy_timeout: described(
    duration().prefault('30s'),
    'How long a mount of a pod that goes may be busy before it is taken off by force.',
    { format: 'duration' },
  ),
  retry_first: described(
    duration().prefault('1s'),
    'Pause after the first failure of a call; it doubles with each.',
    { format: 'duration' },
  ),
  retry_longest: described(duration().prefault('5m'), 'Longest pause between two attempts.', {
    format: 'duration',
  }),
  extra_create_metadata: described(
    z.boolean().default(false),
    'Tell drivers the names of claim and volume when a volume is made.',
  ),
});
