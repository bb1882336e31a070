import type { CommandModule } from '../context.ts';

interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly group: string;
  /** Brings the command's own file in: only the one that runs is read. */
  load(): Promise<CommandModule>;
}

const PODS = 'Pods and containers:';
const IMAGES = 'Images:';
const VOLUMES = 'Volumes:';
const HOST = 'Daemon and host:';

/** All commands, in the order of the help. */
export const COMMANDS: readonly Entry[] = [
  entry(PODS, 'run', 'Run an image in a pod of its own', () => import('./run.ts')),
  entry(PODS, 'pods', 'List pods', () => import('./pods.ts')),
  entry(PODS, 'ps', 'List containers', () => import('./ps.ts')),
  entry(PODS, 'logs', 'Show the log of a container', () => import('./logs.ts')),
  entry(PODS, 'exec', 'Run a command in a running container', () => import('./exec.ts')),
  entry(PODS, 'attach', 'Join the streams of a running container', () => import('./attach.ts')),
  entry(PODS, 'cp', 'Copy files into and out of containers', () => import('./cp.ts')),
  entry(
    PODS,
    'port-forward',
    'Lead ports of this host to ports of a pod',
    () => import('./port-forward.ts'),
  ),
  entry(PODS, 'stats', 'Show what containers use', () => import('./stats.ts')),
  entry(PODS, 'runp', 'Run a pod from a file', () => import('./runp.ts')),
  entry(PODS, 'create', 'Create a container from a file', () => import('./create.ts')),
  entry(PODS, 'start', 'Start created containers', () => import('./start.ts')),
  entry(PODS, 'stop', 'Stop running containers', () => import('./stop.ts')),
  entry(PODS, 'rm', 'Remove containers', () => import('./rm.ts')),
  entry(PODS, 'stopp', 'Stop pods', () => import('./stopp.ts')),
  entry(PODS, 'rmp', 'Remove pods', () => import('./rmp.ts')),
  entry(PODS, 'inspect', 'Show all about containers', () => import('./inspect.ts')),
  entry(PODS, 'inspectp', 'Show all about pods', () => import('./inspectp.ts')),
  entry(IMAGES, 'images', 'List images', () => import('./images.ts')),
  entry(IMAGES, 'pull', 'Pull an image from a registry', () => import('./pull.ts')),
  entry(IMAGES, 'rmi', 'Remove images', () => import('./rmi.ts')),
  entry(IMAGES, 'inspecti', 'Show all about images', () => import('./inspecti.ts')),
  entry(
    IMAGES,
    'imagefsinfo',
    'Show how full the image store is',
    () => import('./imagefsinfo.ts'),
  ),
  entry(IMAGES, 'image', 'Explain, load, save and prune images', () => import('./image.ts')),
  entry(
    VOLUMES,
    'volume',
    'Make, list, grow, copy and remove volumes',
    () => import('./volume.ts'),
  ),
  entry(VOLUMES, 'csi', 'Show, try and run CSI drivers', () => import('./csi.ts')),
  entry(HOST, 'serve', 'Run the daemon', () => import('./serve.ts')),
  entry(
    HOST,
    'config',
    'Show and check the configuration of the daemon',
    () => import('./config.ts'),
  ),
  entry(
    HOST,
    'cni',
    'Attach namespaces to networks by hand, install CNI plugins',
    () => import('./cni.ts'),
  ),
  entry(HOST, 'doctor', 'Tell what this host has and lacks', () => import('./doctor.ts')),
  entry(HOST, 'info', 'Show the status of the daemon', () => import('./info.ts')),
  entry(HOST, 'trace', 'Show what calls led to, live or of one pod', () => import('./trace.ts')),
  entry(HOST, 'log-level', 'Show or change what the daemon logs', () => import('./log-level.ts')),
  entry(
    HOST,
    'version',
    'Show the versions of the daemon and of CRI',
    () => import('./version.ts'),
  ),
  entry(
    HOST,
    'completion',
    'Print a completion script for a shell',
    () => import('./completion.ts'),
  ),
];

function entry(
  group: string,
  name: string,
  summary: string,
  load: () => Promise<CommandModule>,
): Entry {
  return { group, name, summary, load };
}
