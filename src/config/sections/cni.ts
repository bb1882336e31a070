import { z } from 'zod';
import { described, duration, path } from '../keys.ts';

/** [cni]: networks of pods. */
export const cni = z.strictObject({
  conf_dir: described(
    path().default('/etc/cni/net.d'),
    'Directory with network configurations. The first by name is the default network; the directory is watched and may appear later.',
  ),
  bin_dirs: described(
    z.array(path()).min(1).default(['/opt/cni/bin', '/usr/lib/cni']),
    'Directories searched for plugin programs, in this order.',
    { separator: ':' },
  ),
  cache_dir: described(
    path().default('/var/lib/cni'),
    'Directory for the results of plugins, laid out as libcni does.',
  ),
  default_network: described(
    z.boolean().default(false),
    'Use the embedded bridge network 10.85.0.0/16 while conf_dir holds no configuration.',
  ),
  prefer: described(
    z.enum(['builtin', 'exec']).default('builtin'),
    'Whether built-in plugins or programs of bin_dirs serve a type that both have.',
  ),
  override_dir: described(
    path().default('/opt/keelson/cni/bin'),
    'Directory whose plugin programs take the place of built-in plugins of the same name.',
  ),
  plugin_timeout: described(
    duration().prefault('1m'),
    'How long one call of one plugin may take.',
    { format: 'duration' },
  ),
});
