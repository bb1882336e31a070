import { z } from 'zod';
import { LOG_LEVELS } from '../base/index.ts';
import { described, duration, path, uri } from './keys.ts';
import { cni } from './sections/cni.ts';
import { csi } from './sections/csi.ts';
import { images } from './sections/images.ts';
import { nri } from './sections/nri.ts';
import { cgroup, conmon, containers, sandbox } from './sections/pods.ts';
import { runtimes } from './sections/runtimes.ts';
import { admin, grpc, streaming } from './sections/servers.ts';

/** The settings of `keelson serve` as TOML has them. */
export const schema = z.strictObject({
  root: described(
    path().default('/var/lib/keelson'),
    'Directory for what survives a boot: images and their layers.',
  ),
  state: described(
    path().default('/run/keelson'),
    'Directory for what dies with the boot: records of pods and containers, sockets.',
  ),
  listen: described(
    z.array(uri()).min(1).optional(),
    'Where the CRI services listen: unix:///PATH or tcp://ADDRESS:PORT. Beyond loopback, tcp needs [grpc.tls] with client_ca.',
    {
      separator: ',',
      derived: 'unix://<state>/keelson.sock',
      example: 'unix:///run/keelson/keelson.sock',
    },
  ),
  image_listen: described(
    uri().optional(),
    'Where the image service listens in addition, for a kubelet with a separate image endpoint.',
    { example: 'unix:///run/keelson/image.sock' },
  ),
  default_runtime: described(
    z.string().default('crun'),
    'The runtime of pods that name no handler. If this is crun and crun is missing, runc serves.',
  ),
  drain_timeout: described(
    duration().prefault('30s'),
    'On SIGTERM, how long calls in flight may take to finish before they are cancelled and undone.',
    { format: 'duration' },
  ),
  log: z
    .strictObject({
      level: described(z.enum(LOG_LEVELS).default('info'), 'The least severe lines logged.'),
    })
    .prefault({}),
  grpc: grpc.prefault({}),
  cni: cni.prefault({}),
  csi: csi.prefault({}),
  images: images.prefault({}),
  runtimes,
  conmon: conmon.prefault({}),
  cgroup: cgroup.prefault({}),
  containers: containers.prefault({}),
  streaming: streaming.prefault({}),
  admin: admin.prefault({}),
  nri: nri.prefault({}),
  sandbox: sandbox.prefault({}),
});

/** The settings as parsed, in snake case, before derived defaults. */
export type Settings = z.output<typeof schema>;
