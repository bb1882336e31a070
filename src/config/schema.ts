import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { LOG_LEVELS, parseDuration, parseSize } from '../base/index.ts';

/** What a setting's description carries besides its text; `toJSONSchema` hands it on. */
export interface SettingMeta {
  /** How the parsed number is written. */
  format?: 'duration' | 'size';
  /** What separates the items of a list in an environment variable. */
  separator?: string;
  /** What the default is when it is not a fixed value. */
  derived?: string;
  /** A value for a key that has no default of its own. */
  example?: string;
}

export const RUNTIME_TYPES = ['crun', 'runc', 'runsc'] as const;

const MEBIBYTE = 1024 * 1024;

const path = () =>
  z.string().refine((value) => isAbsolute(value), { error: 'must be an absolute path' });

/** A program: an absolute path, or a name to look up in PATH. */
const program = () =>
  z.string().regex(/^(\/.*[^/]|[^/\s]+)$/, 'must be an absolute path or the name of a program');

const uri = () =>
  z
    .string()
    .regex(
      /^(unix:\/\/\/.+|tcp:\/\/([^[\]:/]+|\[[0-9A-Fa-f:.]+\]):\d{1,5})$/,
      'must be unix:///PATH or tcp://ADDRESS:PORT',
    );

function quantity(
  parse: (text: string) => number | undefined,
  expected: string,
  inputs: z.ZodType<string | number> = z.string(),
) {
  return inputs.transform((value, context) => {
    const parsed = parse(String(value));
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: `must be ${expected}` });
    return z.NEVER;
  });
}

const duration = () => quantity(parseDuration, 'a duration such as "30s" or "1m30s"');
const size = () =>
  quantity(
    parseSize,
    'a size in bytes, or with a unit such as "64MiB"',
    z.union([z.string(), z.int()], { error: 'must be a size in bytes, or such as "64MiB"' }),
  );

function described<T extends z.ZodType>(type: T, description: string, meta: SettingMeta = {}): T {
  return type.meta({ description, ...meta });
}

const tls = (server: string) =>
  z.strictObject({
    cert: described(path().optional(), `File with the certificate of ${server}, PEM.`, {
      example: '/etc/keelson/tls/server.pem',
    }),
    key: described(path().optional(), `File with the private key of ${server}, PEM.`, {
      example: '/etc/keelson/tls/server-key.pem',
    }),
    client_ca: described(
      path().optional(),
      `File with the authorities whose clients ${server} lets in, PEM.`,
      { example: '/etc/keelson/tls/clients.pem' },
    ),
  });

const runtime = z.strictObject({
  type: described(
    z.enum(RUNTIME_TYPES).optional(),
    'Which driver speaks to it. Needed when the name is none of the types.',
    { derived: 'the name', example: 'crun' },
  ),
  path: described(program().optional(), 'The program: a path, or a name looked up in PATH.', {
    derived: 'the type',
    example: '/usr/bin/crun',
  }),
  root: described(path().optional(), "The runtime's own state directory.", {
    derived: '<state>/runtimes/<name>',
    example: '/run/keelson/runtimes/crun',
  }),
  options: described(
    z.array(z.string()).default([]),
    'Arguments put before the command of each call.',
  ),
});

const cni = z.strictObject({
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

const images = z.strictObject({
  registry_config_dirs: described(
    z.array(path()).default(['/etc/keelson/certs.d', '/etc/containerd/certs.d']),
    'Directories with HOST/hosts.toml (mirrors, certificates, plain HTTP), the layout of containerd. The first that is there is used.',
    { separator: ':' },
  ),
  registries_conf: described(
    path().default('/etc/containers/registries.conf'),
    'File with mirrors, blocked registries and short names, the layout of Podman and CRI-O (version 2), with drop-ins in the directory of its name with .d behind it. It may be missing; hosts.toml comes first.',
  ),
  parallel_layers: described(
    z.int().min(1).max(64).default(3),
    'How many layers of one image download at the same time.',
  ),
  parallel_downloads: described(
    z.int().min(1).max(256).default(8),
    'How many layers of all images download at the same time.',
  ),
  stall_timeout: described(
    duration().prefault('1m'),
    'A download without a byte for so long is given up and tried again.',
    { format: 'duration' },
  ),
  auth_file: described(
    path().optional(),
    'File with registry credentials (config.json of Docker, auth.json of Podman), for pulls that bring none.',
    { example: '/root/.docker/config.json' },
  ),
  keep_blobs: described(
    z.boolean().default(false),
    'Keep compressed layers after they are unpacked. Takes space, saves a download when an image is pushed or exported.',
  ),
  pinned: described(
    z.array(z.string().min(1)).default([]),
    'Images that a kubelet is told never to remove: references, in which * and ? match any text and any character.',
  ),
  max_layer_size: described(
    size().prefault('64GiB'),
    'Most bytes that the files of one layer may have when unpacked.',
    { format: 'size' },
  ),
  max_layer_entries: described(
    z.int().min(1).default(4_000_000),
    'Most entries that the archive of one layer may have.',
  ),
  foreign_layers: described(
    z.enum(['refuse', 'skip']).default('refuse'),
    'What becomes of an image with layers that registries may not distribute: it is refused, or made without their files.',
  ),
  refuse_devices: described(z.boolean().default(false), 'Refuse layers with device nodes.'),
  platform: described(
    z
      .string()
      .regex(/^[a-z0-9]+\/[a-z0-9]+(\/[a-z0-9]+)?$/, 'must be OS/ARCHITECTURE[/VARIANT]')
      .optional(),
    'Which image of a multi-platform index is pulled.',
    { derived: 'that of the host', example: 'linux/arm64' },
  ),
});

const csi = z.strictObject({
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

const nri = z.strictObject({
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
    'A plugin that has not registered so long after it connected is disconnected.',
    { format: 'duration' },
  ),
  request_timeout: described(
    duration().prefault('2s'),
    'A plugin that does not answer a request for so long is disconnected, and the pod goes on without it.',
    { format: 'duration' },
  ),
});

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
  grpc: z.strictObject({ tls: tls('the CRI server').prefault({}) }).prefault({}),
  cni: cni.prefault({}),
  csi: csi.prefault({}),
  images: images.prefault({}),
  runtimes: described(
    z.record(
      z.string().regex(/^[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?$/, 'is no name of a runtime handler'),
      runtime,
    ),
    'OCI runtimes by handler name. Handlers whose program is missing are not offered.',
  ).default({ crun: { options: [] }, runc: { options: [] }, runsc: { options: [] } }),
  conmon: z
    .strictObject({
      path: described(program().default('conmon'), 'The program: a path, or a name in PATH.'),
    })
    .prefault({}),
  cgroup: z
    .strictObject({
      driver: described(
        z.enum(['auto', 'cgroupfs', 'systemd']).default('auto'),
        'Who makes cgroups. With auto: systemd where it runs the host, else cgroupfs.',
      ),
    })
    .prefault({}),
  containers: z
    .strictObject({
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
    })
    .prefault({}),
  streaming: z
    .strictObject({
      address: described(
        z.string().min(1).default('127.0.0.1'),
        'Address where exec, attach and port-forward are streamed.',
      ),
      port: described(z.int().min(0).max(65535).default(0), 'Its port. 0: any free one.'),
      tls: tls('the streaming server').prefault({}),
    })
    .prefault({}),
  admin: z
    .strictObject({
      address: described(uri().optional(), 'Where metrics, traces and progress are served.', {
        derived: 'unix://<state>/admin.sock',
        example: 'unix:///run/keelson/admin.sock',
      }),
    })
    .prefault({}),
  nri: nri.prefault({}),
  sandbox: z
    .strictObject({
      init_path: described(
        program().default('catatonit'),
        'The init of pods that share one PID namespace: a path, or a name in PATH.',
      ),
      shm_size: described(size().prefault(64 * MEBIBYTE), 'Size of /dev/shm of a pod.', {
        format: 'size',
      }),
    })
    .prefault({}),
});

/** The settings as parsed, in snake case, before derived defaults. */
export type Settings = z.output<typeof schema>;
