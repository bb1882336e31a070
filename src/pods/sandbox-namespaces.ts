import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expectValue, KeelsonError, span } from '../base/index.ts';
import {
  createPinnedNamespace,
  createUserNamespace,
  type IdRange,
  insideNamespace,
  type PinnableNamespace,
  removePinnedNamespace,
  setHostname,
  setLoopbackUp,
  writeSysctl,
  writeSysctlAsOwner,
} from '../linux/index.ts';
import type { ContainerSpecRequest } from '../oci/spec/index.ts';
import type { SandboxConfig, UserMappings } from './config.ts';
import { letThrough } from './mapped-mounts.ts';
import type { SandboxRecord } from './records.ts';

/**
 * Sysctls that every pod with a network of its own gets unless it says otherwise: any
 * user may listen on low ports and send pings, as with containerd.
 */
const NETWORK_SYSCTLS = {
  'net.ipv4.ip_unprivileged_port_start': '0',
  'net.ipv4.ping_group_range': '0 2147483647',
};

/**
 * Where the namespaces of a sandbox will be pinned. Those that are not named are the host's, or,
 * of a pod that is `sandboxed` by its runtime, within that runtime's own kernel.
 */
export function planNamespaces(
  config: SandboxConfig,
  places: { netnsDirectory: string; directory: string; id: string; sandboxed?: boolean },
): SandboxRecord['namespaces'] {
  const own = config.namespaces;
  const directory = join(places.directory, 'ns');
  return {
    ...(own.user === undefined ? {} : { user: join(directory, 'user') }),
    ...(own.network === 'pod'
      ? {
          net: pinnedNetwork(places.netnsDirectory, places.id),
          uts: join(directory, 'uts'),
        }
      : {}),
    ...(own.ipc === 'pod' ? { ipc: join(directory, 'ipc') } : {}),
    ...(own.pid === 'pod' && places.sandboxed !== true ? { pid: join(directory, 'pid') } : {}),
  };
}

/** Where the network namespace of a sandbox is pinned. Interfaces show this name: it is short. */
export function pinnedNetwork(netnsDirectory: string, id: string): string {
  return join(netnsDirectory, `keelson-${id.slice(0, 16)}`);
}

/** Makes and pins the namespaces of a sandbox that live without a process, and sets them up. */
export async function createNamespaces(record: SandboxRecord, directory: string): Promise<void> {
  const { config, namespaces } = record;
  const sysctls = sortSysctls(config);
  await mkdir(join(directory, 'ns'), { mode: 0o700 });
  if (namespaces.net !== undefined) {
    await mkdir(join(namespaces.net, '..'), { recursive: true, mode: 0o755 });
  }
  const setup: Record<PinnableNamespace, () => void> = {
    net: () => {
      setLoopbackUp();
      writeAll({ ...NETWORK_SYSCTLS, ...sysctls.net });
    },
    uts: () => {
      setHostname(hostnameOf(config));
      writeAll(sysctls.uts);
    },
    ipc: () => writeAll(sysctls.ipc),
  };
  if (config.namespaces.user !== undefined) {
    await letThrough(directory, config.namespaces.user);
    await createOwned(record, config.namespaces.user, { ...setup, ipc: () => {} });
    await writeAllAsOwner(sysctls.ipc, namespaces);
    return;
  }
  for (const type of TYPES) {
    const path = namespaces[type];
    if (path !== undefined) await createInSpan(type, path, setup[type]);
  }
}

function createInSpan(type: PinnableNamespace, path: string, setup: () => void): Promise<void> {
  return span('namespace.create', { type, path }, async () =>
    createPinnedNamespace(type, path, setup),
  );
}

const TYPES = ['net', 'uts', 'ipc'] as const;

/** The same for a pod with a user namespace, which must own the others to be able to use them. */
async function createOwned(
  { namespaces }: SandboxRecord,
  mappings: UserMappings,
  setup: Record<PinnableNamespace, () => void>,
): Promise<void> {
  const { net, uts, ipc } = namespaces;
  const path = expectValue(namespaces.user, 'place for the user namespace');
  const owned = {
    ...(net === undefined ? {} : { net }),
    ...(uts === undefined ? {} : { uts }),
    ...(ipc === undefined ? {} : { ipc }),
  };
  await span('namespace.create', { type: 'user', path }, () =>
    createUserNamespace({ ...mappings, path, owned }),
  );
  for (const type of TYPES) {
    const pinned = namespaces[type];
    if (pinned !== undefined) insideNamespace(type, pinned, setup[type]);
  }
}

async function writeAllAsOwner(
  sysctls: Record<string, string>,
  { user, ipc }: SandboxRecord['namespaces'],
): Promise<void> {
  if (user === undefined || ipc === undefined) return;
  for (const [name, value] of Object.entries(sysctls)) {
    await writeSysctlAsOwner(name, value, { user, ipc });
  }
}

/** The ids of a pod's user namespace as config.json has them. */
export function specMappings(user: UserMappings | undefined): ContainerSpecRequest['userMappings'] {
  const toSpec = ({ containerId, hostId, length }: IdRange) => [
    { containerID: containerId, hostID: hostId, size: length },
  ];
  return user && { uids: toSpec(user.uids), gids: toSpec(user.gids) };
}

export async function removeNamespaces(namespaces: SandboxRecord['namespaces']): Promise<void> {
  for (const path of Object.values(namespaces)) await removePinnedNamespace(path);
}

/** The name a pod knows itself by: its own, or the host's. */
export function hostnameOf(config: SandboxConfig): string {
  const isHosts = config.hostname === '' || config.namespaces.network === 'node';
  return isHosts ? hostname() : config.hostname;
}

/** Refuses sysctls that are not of a namespace of this sandbox: they would change the host. */
export function sortSysctls(
  config: SandboxConfig,
): Record<PinnableNamespace, Record<string, string>> {
  const sorted: Record<PinnableNamespace, Record<string, string>> = { net: {}, ipc: {}, uts: {} };
  for (const [name, value] of Object.entries(config.sysctls)) {
    const dotted = withDots(name);
    const type = namespaceOf(dotted);
    const mode = type === 'ipc' ? config.namespaces.ipc : config.namespaces.network;
    if (type === undefined || mode !== 'pod') {
      throw new KeelsonError('INVALID_ARGUMENT', `Cannot set sysctl "${name}" for a pod`, {
        reason:
          type === undefined
            ? 'it is not namespaced: it would change the whole machine'
            : `the pod uses the host's ${type} namespace`,
      });
    }
    sorted[type][dotted] = value;
  }
  return sorted;
}

/** The form with dots first of a name that may have slashes first (see `writeSysctl`). */
function withDots(name: string): string {
  if (/[./]/.exec(name)?.[0] !== '/') return name;
  return name.replace(/[./]/g, (character) => (character === '.' ? '/' : '.'));
}

function namespaceOf(sysctl: string): PinnableNamespace | undefined {
  if (sysctl.startsWith('net.')) return 'net';
  if (/^kernel\.(shm|msg|sem)|^fs\.mqueue\./.test(sysctl)) return 'ipc';
  if (sysctl === 'kernel.domainname') return 'uts';
  return undefined;
}

function writeAll(sysctls: Record<string, string>): void {
  for (const [name, value] of Object.entries(sysctls)) writeSysctl(name, value);
}
