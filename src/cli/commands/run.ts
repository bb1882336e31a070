import { type Command, Option } from 'commander';
import { codeOf, NEVER, sleep } from '../../base/index.ts';
import {
  type ContainerConfig,
  ContainerState,
  type ContainerStatus,
  type PodSandboxConfig,
  RuntimeServiceService,
} from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { type CredentialOptions, credentialOptions, credentialsOf } from '../credentials.ts';
import type { CriClient } from '../cri-client.ts';
import { removePod, stopContainer, stopPod } from '../ending.ts';
import { EXIT } from '../exit-codes.ts';
import { errorLine, usageError } from '../failures.ts';
import { label, repeated } from '../filters.ts';
import { printLog } from '../log-print.ts';
import { print } from '../output.ts';
import { pullImage } from '../pulling.ts';
import {
  type ReadyVolume,
  type RunOptions,
  runContainerConfig,
  runPodConfig,
  type VolumeMount,
  volumeMount,
} from '../run-config.ts';
import { containerStatus, imageStatus } from '../status.ts';
import { publishVolumes, releaseVolumes } from '../volume-objects.ts';
import { withoutDashes } from '../words.ts';

interface Options extends RunOptions, CredentialOptions {
  rm?: boolean;
  detach?: boolean;
  pull: 'missing' | 'always' | 'never';
  runtime?: string;
}

/** Seconds that an interrupted container has to end by itself. */
const GRACE = 10;
/** Milliseconds between looks whether the container has ended. */
const POLL = 100;

/** `keelson run`: a pod with one container, in the foreground unless detached. */
export function configure(command: Command, context: Context): void {
  credentialOptions(command)
    .argument('<image>', 'NAME[:TAG][@DIGEST], pulled if it is missing')
    .argument('[command...]', "arguments in place of the image's own")
    .option('--rm', 'remove the pod and its log when the container has ended')
    .option('-d, --detach', 'print the id of the container and leave it running')
    .option('--name <name>', 'name of the pod (default: made from that of the image)')
    .option('--namespace <namespace>', 'namespace of the pod', 'default')
    .option('-e, --env <key=value>', 'a variable; KEY alone hands yours on', repeated)
    .option('-p, --publish <ports>', '[ADDRESS:]HOST:CONTAINER[/PROTOCOL]', repeated)
    .option('-m, --mount <paths>', '/HOST/PATH:/CONTAINER/PATH[:ro]', repeated)
    .option('--volume <claim>', 'CLAIM:/CONTAINER/PATH[:ro], made ready first', repeated)
    .option('--label <key=value>', 'a label of pod and container', label)
    .option('--host-network', "use the host's network")
    .option('--hostname <name>', 'host name inside (default: that of the pod)')
    .option('-w, --workdir <path>', 'working directory')
    .option('--user <user>', 'UID[:GID] or a name that the image knows')
    .option('--entrypoint <program>', "a program in place of the image's own")
    .option('--privileged', 'give it all that the host has')
    .option('--read-only', 'do not let it write to its root file system')
    .option('--runtime <handler>', 'the runtime handler')
    .addOption(
      new Option('--pull <when>', 'when to pull the image')
        .choices(['missing', 'always', 'never'])
        .default('missing'),
    )
    .passThroughOptions()
    .action((image: string, words: string[], options: Options) =>
      run(image, withoutDashes(words), options, context),
    );
}

async function run(
  image: string,
  command: readonly string[],
  options: Options,
  context: Context,
): Promise<void> {
  if (options.rm && options.detach) {
    throw usageError('--rm needs a command that waits: leave out --detach');
  }
  const pod = runPodConfig(image, options);
  const mounts = (options.volume ?? []).map(volumeMount);
  const configOf = (volumes: readonly ReadyVolume[]) =>
    runContainerConfig({ image, command, pod, options, volumes, environment: context.env });
  // What is wrong with the command line is told before anything is done.
  configOf([]);
  await provideImage(image, options, context);
  const config = configOf(await provideVolumes(pod, mounts, context));

  // From here on an interrupt stops the container; it does not cut off calls to the daemon.
  const cri = (await context.cri()).uninterrupted();
  const podId = await releasingOnFailure(pod, mounts, context, () =>
    runPod(cri, pod, options.runtime ?? ''),
  );
  let id: string;
  try {
    context.signal.throwIfAborted();
    id = await startContainer(cri, podId, pod, config);
  } catch (error) {
    await tidy(context, () => removePod(cri, podId, true));
    throw error;
  }
  if (options.detach) return print(context.stdout, `${id}\n`);
  try {
    context.fail(await attend(cri, id, context));
  } finally {
    // Stopped at least: its addresses and ports are free, its log and status stay.
    if (options.rm) await tidy(context, () => removePod(cri, podId, true));
    else await tidy(context, () => stopPod(cri, podId));
  }
}

/** Milliseconds for all volumes of the pod together. */
const VOLUMES_TIMEOUT = 180_000;

/** Has the volumes of the pod attached and mounted. They go with the pod. */
async function provideVolumes(
  { metadata }: PodSandboxConfig,
  mounts: readonly VolumeMount[],
  context: Context,
): Promise<ReadyVolume[]> {
  if (mounts.length === 0 || metadata === undefined) return [];
  const { uid, name, namespace } = metadata;
  // A claim that is mounted at two places is one volume of the pod.
  const claims = [...new Set(mounts.map(({ claim }) => claim))];
  const ready = await publishVolumes(context, {
    pod: { uid, name, namespace },
    timeout: VOLUMES_TIMEOUT,
    volumes: claims.map((claim) => ({
      claim,
      readOnly: mounts.every((mount) => mount.claim !== claim || mount.readOnly),
    })),
  });
  return mounts.flatMap((mount) => {
    const volume = ready[claims.indexOf(mount.claim)];
    if (volume === undefined) return [];
    return { ...mount, ...volume, readOnly: mount.readOnly || volume.readOnly };
  });
}

async function releasingOnFailure<T>(
  { metadata }: PodSandboxConfig,
  mounts: readonly VolumeMount[],
  context: Context,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (mounts.length > 0) await tidy(context, () => releaseVolumes(context, metadata?.uid ?? ''));
    throw error;
  }
}

async function provideImage(image: string, options: Options, context: Context): Promise<void> {
  if (options.pull === 'never') return;
  if (options.pull === 'missing' && (await isThere(await context.cri(), image))) return;
  await pullImage(context, image, { auth: await credentialsOf(options, context) });
}

async function isThere(cri: CriClient, image: string): Promise<boolean> {
  try {
    await imageStatus(cri, image);
    return true;
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return false;
    throw error;
  }
}

async function runPod(
  cri: CriClient,
  config: PodSandboxConfig,
  runtimeHandler: string,
): Promise<string> {
  const action = `Cannot run pod "${config.metadata?.name}"`;
  const request = { config, runtimeHandler };
  return (await cri.call(RuntimeServiceService.runPodSandbox, request, { action })).podSandboxId;
}

async function startContainer(
  cri: CriClient,
  podSandboxId: string,
  sandboxConfig: PodSandboxConfig,
  config: ContainerConfig,
): Promise<string> {
  const what = `container of image "${config.image?.image}"`;
  const { containerId } = await cri.call(
    RuntimeServiceService.createContainer,
    { podSandboxId, config, sandboxConfig },
    { action: `Cannot create ${what}` },
  );
  const action = `Cannot start ${what}`;
  await cri.call(RuntimeServiceService.startContainer, { containerId }, { action });
  return containerId;
}

/** Shows what the container writes until it ends; answers its exit code. */
async function attend(cri: CriClient, id: string, context: Context): Promise<number> {
  const stop = () => tidy(context, () => stopContainer(cri, id, GRACE));
  if (context.signal.aborted) await stop();
  context.signal.addEventListener('abort', stop, { once: true });
  let { status } = await containerStatus(cri, id);
  const { stdout, stderr } = context;
  if (cri.local && status !== undefined) {
    await printLog(status.logPath, {
      ...{ stdout, stderr, tail: undefined, since: undefined, timestamps: false },
      follow: true,
      poll: POLL,
      ended: async () => hasEnded(await statusIfReachable(cri, id)),
      signal: NEVER,
    });
  }
  while (!hasEnded(status)) {
    status = await statusIfReachable(cri, id);
    if (!hasEnded(status)) await sleep(POLL);
  }
  context.signal.removeEventListener('abort', stop);
  return status?.exitCode ?? EXIT.ownFailure;
}

function hasEnded(status: ContainerStatus | undefined): boolean {
  return status?.state === ContainerState.CONTAINER_EXITED;
}

/** A daemon that is being restarted is waited for: the container runs on meanwhile. */
async function statusIfReachable(cri: CriClient, id: string): Promise<ContainerStatus | undefined> {
  try {
    return (await containerStatus(cri, id)).status;
  } catch (error) {
    if (codeOf(error) === 'UNAVAILABLE') return undefined;
    throw error;
  }
}

/** Work whose failure is told, but is not what the user asked for. */
async function tidy(context: Context, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    context.stderr.write(errorLine(error));
  }
}
