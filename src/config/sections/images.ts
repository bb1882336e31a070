import { z } from 'zod';
import { described, duration, path, size } from '../keys.ts';

/** [images]: pulls and what is kept of them. */
export const images = z.strictObject({
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
    'A download that brings less than 1 KiB/s for so long is given up and tried again.',
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
  gunzip: described(
    z.enum(['auto', 'zlib']).default('auto'),
    'What decompresses layers of gzip: the library ISA-L if this host has it (libisal.so.2), otherwise zlib; or zlib in any case.',
  ),
  platform: described(
    z
      .string()
      .regex(/^[a-z0-9]+\/[a-z0-9]+(\/[a-z0-9]+)?$/, 'must be OS/ARCHITECTURE[/VARIANT]')
      .optional(),
    'Which image of a multi-platform index is pulled.',
    { derived: 'that of the host', example: 'linux/arm64' },
  ),
});
