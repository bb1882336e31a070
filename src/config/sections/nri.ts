import { z } from 'zod';
import { described, duration, path } from '../keys.ts';

/** [nri]: plugins that watch and adjust pods. */
export const nri = z.strictObject({
  enabled: described(
    z.boolean().default(true),
    'Let plugins of the Node Resource Interface watch and adjust pods.',
  ),
  socket_path: described(
    path().default('/var/run/nri/nri.sock'),
    'Unix socket where plugins connect.',
  ),
  disable_connections: described(
    z.boolean().default(false),
    'Let no plugins connect: only those of plugin_path take part.',
  ),
  plugin_path: described(
    path().default('/opt/nri/plugins'),
    'Directory with plugins that are started with the daemon: programs named INDEX-NAME, as in 10-logger.',
  ),
  plugin_config_path: described(
    path().default('/etc/nri/conf.d'),
    'Directory with their configuration: INDEX-NAME.conf, or NAME.conf.',
  ),
  registration_timeout: described(
    duration().prefault('5s'),
    'A plugin that has not registered so long after it connected is disconnected; it may take as long again to be told what there is.',
    { format: 'duration' },
  ),
  request_timeout: described(
    duration().prefault('2s'),
    'A plugin that does not answer any other request for so long is disconnected, and the pod goes on without it.',
    { format: 'duration' },
  ),
});
