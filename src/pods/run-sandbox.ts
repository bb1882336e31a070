import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { during, KeelsonError, newId, Steps } from '../base/index.ts';
import { missingCgroupDirectories, removeCgroupDirectories, unmountAll } from '../linux/index.ts';
import { cgroupParentFor } from './cgroup-paths.ts';
import type { SandboxConfig } from './config.ts';
import { attachmentOf } from './pod-network.ts';
import type { Pods } from './pods.ts';
import { now, type SandboxRecord, sandboxName } from './records.ts';
import { mountShm, SHM, type ShmOptions, writeSandboxFiles } from './sandbox-files.ts';
import { needsInit, removeInit, startInit } from './sandbox-init.ts';
import { createNamespaces, planNamespaces, removeNamespaces } from './sandbox-namespaces.ts';
import { refusePodInSandbox } from './sandboxed-runtime.ts';
import { freeLevel, selinuxLabels } from './selinux.ts';

/**
 * Makes a pod sandbox: namespaces, files, network, and answers its id when it is ready.
 * A second call with the same name joins the first while that is under way, and fails
 * with ALREADY_EXISTS afterwards. `handler` '' is the default runtime handler.
 */
export function runSandbox(
  pods: Pods,
  config: SandboxConfig,
  handler: string,
  signal: AbortSignal,
): Promise<string> {
  const name = sandboxName(config);
  return pods.creations.join(`sandbox ${name}`, signal, async (joined) => {
    try {
      return await create(pods, config, handler, joined);
    } catch (error) {
      throw during(`Cannot run pod sandbox "${name}"`, error);
    }
  });
}

async function create(
  pods: Pods,
  config: SandboxConfig,
  handler: string,
  signal: AbortSignal,
): Promise<string> {
  if (config.namespaces.user !== undefined) {
    await pods.userNamespaces.demand(pods.runtimes.get(handler));
  }
  let record = intentOf(pods, config, handler);
  const { id } = record;
  const directory = pods.sandboxes.directoryOf(id);
  const logger = pods.logger.child({ podId: id });
  using _held = await pods.locks.acquire(id, signal);
  await using steps = new Steps('run-pod-sandbox', logger);
  await steps.run(
    'record intent',
    () => pods.sandboxes.add(record),
    () => forgetSandbox(pods, record),
  );
  await steps.run(
    'create namespaces',
    () => createNamespaces(record, directory),
    () => removeNamespaces(record.namespaces),
  );
  await steps.run(
    'prepare files',
    async () => {
      await writeSandboxFiles(config, directory);
      if (record.namespaces.ipc !== undefined) await mountShm(directory, shmOptions(pods, record));
      if (config.logDirectory !== '') {
        await mkdir(config.logDirectory, { recursive: true, mode: 0o755 });
      }
    },
    () => unmountAll(`${directory}/${SHM}`),
  );
  const ips = await steps.run(
    'attach network',
    () => attachNetwork(pods, record, signal),
    (undoSignal) => detachNetwork(pods, record, undoSignal),
  );
  const init = await steps.run(
    'start init process',
    () => (needsInit(pods, record) ? startInit(pods, record, signal) : undefined),
    (undoSignal) => removeInit(pods, record, undoSignal),
  );
  const started = { ...record, ips, init };
  await steps.run(
    'tell of start',
    () => pods.observer?.sandboxStarting(started),
    () => tellOfUndoing(pods, started),
  );
  await steps.run('record readiness', async () => {
    record = await pods.sandboxes.update(record, { state: { phase: 'ready' }, ips, init });
  });
  signal.throwIfAborted();
  steps.commit();
  logger.info({ name: sandboxName(config), ips }, 'pod sandbox is ready');
  return id;
}

function shmOptions(pods: Pods, record: SandboxRecord): ShmOptions {
  const { selinux } = pods.host;
  return {
    size: pods.settings.shmSize,
    user: record.config.namespaces.user,
    context: selinux && selinuxLabels(selinux, record, undefined).mount,
  };
}

/** Whoever was told of a sandbox that then failed is told of its end too. */
async function tellOfUndoing({ observer }: Pods, sandbox: SandboxRecord): Promise<void> {
  await observer?.sandboxStopping(sandbox);
  await observer?.sandboxRemoving(sandbox);
}

function intentOf(pods: Pods, config: SandboxConfig, handler: string): SandboxRecord {
  const runtime = pods.runtimes.get(handler);
  if (config.namespaces.pid === 'target') {
    throw new KeelsonError('INVALID_ARGUMENT', 'Cannot use PID mode TARGET for a sandbox', {
      reason: 'only a container can join the namespace of another',
    });
  }
  if (runtime.needsSandbox) refusePodInSandbox(config, runtime.handler);
  const id = newId();
  const { cgroupDriver, netnsDirectory } = pods.settings;
  const cgroupParent = cgroupParentFor(cgroupDriver, config.cgroupParent, id);
  return {
    id,
    config,
    handler: runtime.handler,
    createdAt: now(),
    state: { phase: 'creating' },
    namespaces: planNamespaces(config, {
      netnsDirectory,
      directory: pods.sandboxes.directoryOf(id),
      id,
      sandboxed: runtime.needsSandbox,
    }),
    selinuxLevel: levelFor(pods),
    cgroupParent,
    cgroupDirectories:
      cgroupDriver === 'systemd' ? [] : ownCgroups(pods, config.cgroupParent, cgroupParent),
    init: undefined,
    ips: [],
  };
}

function levelFor(pods: Pods): string | undefined {
  if (pods.host.selinux === undefined) return undefined;
  const taken = pods.sandboxes.list().flatMap(({ selinuxLevel }) => selinuxLevel ?? []);
  return freeLevel(new Set(taken));
}

/** The cgroup directories that go with the pod: those that nobody else made. */
function ownCgroups(pods: Pods, wanted: string, parent: string): string[] {
  const { cgroups } = pods.host;
  const missing = missingCgroupDirectories(cgroups, parent);
  if (wanted !== '') return missing;
  // Also when another pod made it: the last one to go takes it along.
  const shared = [...cgroups.mountpoints.values()].map((place) => `${place}${dirname(parent)}`);
  return [...new Set([...shared, ...missing])];
}

async function attachNetwork(
  pods: Pods,
  record: SandboxRecord,
  signal: AbortSignal,
): Promise<string[]> {
  if (record.namespaces.net === undefined) return [];
  return (await pods.network.attach(attachmentOf(record), signal)).ips;
}

/** Gives back what the network gave the pod. Its namespace may be gone. */
export async function detachNetwork(
  pods: Pods,
  record: SandboxRecord,
  signal: AbortSignal,
): Promise<void> {
  if (record.namespaces.net !== undefined) {
    await pods.network.detach(attachmentOf(record), signal);
  }
}

/** Deletes a sandbox's record and what belongs to it and holds nothing any more. */
export async function forgetSandbox(pods: Pods, record: SandboxRecord): Promise<void> {
  removeCgroupDirectories(record.cgroupDirectories);
  await pods.exits.forget(record.id);
  await pods.sandboxes.remove(record.id);
  await rm(pods.sandboxes.directoryOf(record.id), { recursive: true, force: true });
}
