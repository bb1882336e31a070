import {
  type ContainerConfig as CriContainer,
  type KeyValue,
  Signal,
} from '../gen/runtime/v1/api.ts';
import { type ContainerConfig, NO_RESOURCES } from '../pods/index.ts';
import { toSecurity } from './container-security.ts';
import { toImageReference } from './image-spec.ts';
import { invalid, noNul, required } from './invalid.ts';
import { toMount } from './mount.ts';
import { toResources } from './resources.ts';

/** Checks a ContainerConfig and puts it into plain values. */
export function toContainerConfig(given: CriContainer | undefined): ContainerConfig {
  const config = required('config', given);
  const metadata = required('config.metadata', config.metadata);
  const { linux } = config;
  if (config.windows !== undefined) throw invalid('config.windows', 'this is a Linux node');
  const text = (field: string) => (value: string) => noNul(`config.${field}`, value);
  return {
    metadata: {
      name: required('config.metadata.name', text('metadata.name')(metadata.name)),
      attempt: metadata.attempt,
    },
    image: toImageReference('config.image', config.image),
    command: config.command.map(text('command')),
    args: config.args.map(text('args')),
    workingDir: text('working_dir')(config.workingDir),
    envs: config.envs.map(toVariable),
    mounts: config.mounts.map(toMount),
    devices: config.devices.map(({ containerPath, hostPath, permissions }) => ({
      containerPath: text('devices.container_path')(containerPath),
      hostPath: required('config.devices.host_path', text('devices.host_path')(hostPath)),
      permissions,
    })),
    cdiDevices: config.CDIDevices.map(({ name }) =>
      required('config.CDI_devices.name', text('CDI_devices.name')(name)),
    ),
    labels: config.labels,
    annotations: config.annotations,
    logPath: toLogPath(config.logPath),
    stdin: config.stdin,
    stdinOnce: config.stdinOnce,
    tty: config.tty,
    resources:
      linux?.resources === undefined
        ? NO_RESOURCES
        : toResources('config.linux.resources', linux.resources),
    security: toSecurity(linux?.securityContext),
    stopSignal: toStopSignal(config.stopSignal),
  };
}

function toVariable({ key, value }: KeyValue): { key: string; value: string } {
  if (key === '' || key.includes('=')) throw invalid('config.envs', `"${key}" is not a name`);
  const text = value.toString('utf8');
  // config.json is JSON: there is no way to say other bytes.
  if (!Buffer.from(text).equals(value)) {
    throw invalid('config.envs', `the value of "${key}" is not UTF-8`);
  }
  return { key: noNul('config.envs', key), value: noNul('config.envs', text) };
}

/** Relative to the pod's log directory, and not leading out of it. */
function toLogPath(path: string): string {
  if (path.startsWith('/') || path.split('/').includes('..')) {
    throw invalid('config.log_path', `"${path}" leads out of the pod's log directory`);
  }
  return noNul('config.log_path', path);
}

const SIGNAL_NAMES = new Map<number, string>(
  Object.entries(Signal).map(([name, value]) => [value, name]),
);

/** `SIGNAL_SIGRTMINPLUS2` is SIGRTMIN+2; undefined for SIGNAL_RUNTIME_DEFAULT. */
function toStopSignal(value: number): string | undefined {
  const name = SIGNAL_NAMES.get(value);
  if (name === undefined) throw invalid('config.stop_signal', `there is no signal ${value}`);
  if (name === 'SIGNAL_RUNTIME_DEFAULT') return undefined;
  return name.slice('SIGNAL_'.length).replace('PLUS', '+').replace('MINUS', '-');
}

/** The other way: a signal by its usual name, 0 for one that CRI has no name for. */
export function fromStopSignal(name: string): Signal {
  const key = name.toUpperCase().replace('+', 'PLUS').replace('-', 'MINUS');
  const known: Record<string, Signal> = Signal;
  return (
    known[`SIGNAL_${key.startsWith('SIG') ? key : `SIG${key}`}`] ?? Signal.SIGNAL_RUNTIME_DEFAULT
  );
}
