import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  Flights,
  KeyedLock,
  type Logger,
  readTextIfExists,
  writeFileAtomic,
} from '../base/index.ts';
import type { CniEngine } from '../cni/index.ts';
import { bootId, CgroupMigrations, cgroupLayout, findProgram } from '../linux/index.ts';
import type { ImageStore } from '../oci/images/index.ts';
import { Conmon } from '../oci/runtime/index.ts';
import { parseCapabilityMask } from '../oci/spec/index.ts';
import { APPARMOR_PARSER, LOADED_PROFILES } from './apparmor.ts';
import { Exits } from './exits.ts';
import type { LifecycleObserver } from './lifecycle-observer.ts';
import { watchForLostExits } from './lost-exits.ts';
import { OpenForwards } from './open-forwards.ts';
import { PodEvents } from './pod-events.ts';
import type { HostFacts, PodSettings, Pods } from './pods.ts';
import { recordExit } from './record-exit.ts';
import { RecordStore } from './record-store.ts';
import { type ContainerRecord, containerName, type SandboxRecord, sandboxName } from './records.ts';
import { recoverPods } from './recovery.ts';
import type { Runtimes } from './runtimes.ts';
import { readSelinuxDefaults } from './selinux.ts';
import { endStaleExecs } from './stale-execs.ts';
import { discardOtherBoot } from './stale-state.ts';
import { unreadableDirectory } from './unreadable-records.ts';
import { UserNamespaceSupport } from './user-namespace-support.ts';

export interface PodsOptions {
  settings: PodSettings;
  logger: Logger;
  images: ImageStore;
  network: CniEngine;
  runtimes: Runtimes;
  conmonPath: string;
  /** Is told of what happens after the repairs. */
  observer: LifecycleObserver | undefined;
}

/** Opens the pods of a state directory: reads the records and repairs what a crash left. */
export async function openPods(options: PodsOptions): Promise<Pods & AsyncDisposable> {
  const { settings, logger } = options;
  const state = settings.stateDirectory;
  await mkdir(state, { recursive: true, mode: 0o711 });
  await discardOtherBoot(state, logger);
  await writeFileAtomic(join(state, 'boot-id'), await bootId());
  const exits = new Exits(join(state, 'exits'), logger);
  const sandboxes = new RecordStore<SandboxRecord>(
    join(state, 'sandboxes'),
    'pod sandbox',
    (record) => sandboxName(record.config),
  );
  const containers = new RecordStore<ContainerRecord>(
    join(state, 'containers'),
    'container',
    (record) => containerName(record.sandboxId, record.config),
  );
  const host = await readHostFacts(logger);
  const pods: Pods = {
    ...options,
    host,
    ...{ sandboxes, containers },
    events: new PodEvents(sandboxes, containers),
    creations: new Flights(),
    locks: new KeyedLock(),
    signalled: new Set(),
    exits,
    migrations: await CgroupMigrations.open(host.cgroups),
    forwards: new OpenForwards(),
    conmon: new Conmon(options.conmonPath),
    userNamespaces: new UserNamespaceSupport(settings),
  };
  await pods.sandboxes.load(unreadableDirectory(state), logger);
  await pods.containers.load(unreadableDirectory(state), logger);
  await exits.start((id, exit) => recordExit(pods, id, exit));
  await endStaleExecs(pods, join(state, 'exec'));
  await pods.userNamespaces.clean();
  await recoverPods(pods);
  const watch = watchForLostExits(pods);
  return {
    ...pods,
    [Symbol.asyncDispose]: async () => {
      // What every caller gave up is still being undone: no other daemon may begin before.
      await pods.creations.landed();
      watch[Symbol.dispose]();
      exits[Symbol.dispose]();
      await pods.migrations[Symbol.asyncDispose]();
    },
  };
}

async function readHostFacts(logger: Logger): Promise<HostFacts> {
  const status = await readFile('/proc/self/status', 'utf8');
  const mask = /^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
  const boundingCapabilities = parseCapabilityMask(mask);
  const cgroups = cgroupLayout();
  const memory = cgroups.mountpoints.get('memory');
  return {
    cgroups,
    boundingCapabilities,
    lowestOomScoreAdj: await lowestOomScoreAdj(boundingCapabilities, logger),
    apparmor: await hasApparmor(),
    selinux: await readSelinuxDefaults(),
    hugepages:
      cgroups.mode === 'unified'
        ? ((await readTextIfExists('/sys/fs/cgroup/cgroup.controllers')) ?? '').includes('hugetlb')
        : cgroups.mountpoints.has('hugetlb'),
    swapLimit:
      memory === undefined ||
      (await readTextIfExists(join(memory, 'memory.memsw.limit_in_bytes'))) !== undefined,
  };
}

/** Whether the kernel has it on and shows its profiles, and the node the program that loads them. */
async function hasApparmor(): Promise<boolean> {
  const enabled = await readTextIfExists('/sys/module/apparmor/parameters/enabled');
  if (enabled?.[0] !== 'Y' || !existsSync(LOADED_PROFILES)) return false;
  return findProgram(APPARMOR_PARSER) !== undefined;
}

async function lowestOomScoreAdj(
  capabilities: ReadonlySet<string>,
  logger: Logger,
): Promise<number> {
  if (capabilities.has('CAP_SYS_RESOURCE')) return -1000;
  const own = Number(await readFile('/proc/self/oom_score_adj', 'utf8'));
  logger.warn(
    { lowest: own },
    'no CAP_SYS_RESOURCE: lower oom_score_adj values of containers are raised to the own one',
  );
  return own;
}
