import { closeSync, existsSync, openSync } from 'node:fs';
import { chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expectValue, KeelsonError } from '../base/index.ts';
import { bindMount, identifyProcess, type ProcessId } from '../linux/index.ts';
import { killMonitor } from '../oci/runtime/index.ts';
import { buildRuntimeConfig, type RuntimeConfig } from '../oci/spec/index.ts';
import { apparmorFor } from './apparmor.ts';
import { cgroupsPathOf } from './cgroup-paths.ts';
import { oomScoreAdjFor } from './container-resources.ts';
import { deleteByRuntime } from './delete-by-runtime.ts';
import { hostIdOf } from './mapped-mounts.ts';
import type { Pods } from './pods.ts';
import type { SandboxRecord } from './records.ts';
import { hostnameOf, specMappings } from './sandbox-namespaces.ts';
import { seccompFor } from './seccomp.ts';
import { selinuxLabels } from './selinux.ts';

/** Where the init program appears in its own, otherwise empty, root filesystem. */
const INIT = '/init';

/** The kernel's OOM killer takes it last among the pod's processes. */
const INIT_OOM_SCORE_ADJ = -998;

/**
 * A PID namespace dies with its first process, so containers can share one only if
 * something outlives them all: a tiny init, which also reaps orphans. Pods that do not
 * share PIDs need no process of their own, but for those whose runtime keeps all containers of
 * a pod in one process: there the init is what that process is started with.
 */
export function needsInit(pods: Pods, record: SandboxRecord): boolean {
  return record.namespaces.pid !== undefined || pods.runtimes.get(record.handler).needsSandbox;
}

/** Starts the init process of a sandbox and pins its PID namespace. */
export async function startInit(
  pods: Pods,
  record: SandboxRecord,
  signal: AbortSignal,
): Promise<ProcessId> {
  const { initPath } = pods.settings;
  if (!existsSync(initPath)) {
    throw new KeelsonError('FAILED_PRECONDITION', 'Cannot share a PID namespace in a pod', {
      reason: `there is no init program at "${initPath}"`,
      hint: 'install catatonit, or set sandbox.init_path',
    });
  }
  const runtime = pods.runtimes.get(record.handler);
  const bundle = bundleOf(pods, record);
  await mkdir(bundle, { mode: 0o711 });
  const rootfs = join(bundle, 'rootfs');
  await mkdir(rootfs, { mode: 0o755 });
  // The runtime makes mountpoints in it, as the root that the pod has.
  const { user } = record.config.namespaces;
  await chown(rootfs, hostIdOf(0, user?.uids), hostIdOf(0, user?.gids));
  const spec = await initSpec(pods, record, bundle);
  await writeFile(join(bundle, 'config.json'), JSON.stringify(spec));
  if (runtime.needsSandbox && pods.host.cgroups.mode === 'unified') {
    // On cgroup v2 runsc wants to remove all that it made, of which others make use by then.
    for (const each of record.cgroupDirectories) await mkdir(each, { recursive: true });
  }
  const pid = await pods.conmon.create(
    {
      id: record.id,
      name: `${record.config.metadata.name}-init`,
      runtime,
      bundle,
      exitDirectory: pods.exits.directory,
      logPath: undefined,
      terminal: false,
      stdin: false,
      stdinOnce: false,
    },
    signal,
  );
  await runtime.start(record.id, signal);
  const pin = record.namespaces.pid;
  if (pin !== undefined) {
    closeSync(openSync(pin, 'wx', 0o444));
    bindMount(`/proc/${pid}/ns/pid`, pin);
  }
  return expectValue(identifyProcess(pid), `init process ${pid}`);
}

/** Ends the init process, and with it all that still runs in its namespace. Absence is fine. */
export async function removeInit(
  pods: Pods,
  record: SandboxRecord,
  signal: AbortSignal,
): Promise<void> {
  const bundle = bundleOf(pods, record);
  if (!existsSync(bundle)) return;
  if (record.state.phase === 'creating') await killMonitor(bundle);
  const cgroupsPath = cgroupsPathOf(pods.settings.cgroupDriver, record.cgroupParent, record.id);
  await deleteByRuntime(pods, { ...record, cgroupsPath }, signal);
  await killMonitor(bundle);
}

function bundleOf(pods: Pods, record: SandboxRecord): string {
  return join(pods.sandboxes.directoryOf(record.id), 'init');
}

async function initSpec(pods: Pods, record: SandboxRecord, bundle: string): Promise<RuntimeConfig> {
  const { user, net, ipc, uts } = record.namespaces;
  const { host } = pods;
  const { security } = record.config;
  const { needsSandbox } = pods.runtimes.get(record.handler);
  const cgroupV2 = host.cgroups.mode === 'unified' && !needsSandbox;
  const config = buildRuntimeConfig({
    rootfs: join(bundle, 'rootfs'),
    readonlyRootfs: true,
    process: {
      args: [INIT, '-P'],
      env: [],
      cwd: '/',
      user: {
        uid: security.runAsUser ?? 0,
        gid: security.runAsGroup ?? 0,
        additionalGids: security.supplementalGroups,
      },
      terminal: false,
      noNewPrivileges: true,
      oomScoreAdj: oomScoreAdjFor(INIT_OOM_SCORE_ADJ, host),
      apparmorProfile: await apparmorFor({ profile: security.apparmor, privileged: false }, host),
      selinuxLabel: host.selinux && selinuxLabels(host.selinux, record, undefined).process,
    },
    privileged: false,
    capabilities: { add: [], drop: ['ALL'], addAmbient: [] },
    seccomp: await seccompFor(security.seccomp),
    namespaces: {
      ...(user === undefined ? {} : { user }),
      mount: undefined,
      pid: undefined,
      ...(net === undefined ? {} : { network: net }),
      ...(ipc === undefined ? {} : { ipc }),
      ...(uts === undefined ? {} : { uts }),
      ...(cgroupV2 ? { cgroup: undefined } : {}),
    },
    userMappings: specMappings(record.config.namespaces.user),
    mounts: [
      { destination: INIT, type: 'bind', source: pods.settings.initPath, options: ['bind', 'ro'] },
    ],
    rootfsPropagation: 'rprivate',
    mountLabel: host.selinux && selinuxLabels(host.selinux, record, undefined).mount,
    devices: [],
    maskedPaths: [],
    readonlyPaths: [],
    resources: { cpu: { shares: 2 } },
    cgroupsPath: cgroupsPathOf(pods.settings.cgroupDriver, record.cgroupParent, record.id),
    annotations: {
      'io.kubernetes.cri.container-type': 'sandbox',
      'io.kubernetes.cri.sandbox-id': record.id,
    },
    host: { boundingCapabilities: host.boundingCapabilities, cgroupV2 },
  });
  // A kernel of its own does not see the name of the UTS namespace.
  return needsSandbox ? { ...config, hostname: hostnameOf(record.config) } : config;
}
