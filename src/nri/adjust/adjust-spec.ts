import type {
  ContainerAdjustment,
  Hook as HookMessage,
  Hooks as HooksMessage,
  KeyValue,
  Mount,
} from '../../gen/nri/v1alpha1/api.ts';
import type { Hook, Hooks, Process, RuntimeConfig, SpecMount } from '../../oci/spec/index.ts';
import { adjustLinux } from './adjust-linux.ts';
import { toNumber } from './limits.ts';
import { refusal } from './refusal.ts';
import { adjustList, adjustMap } from './removal.ts';
import { ioPriority, type RuntimeAbility, scheduler } from './scheduling.ts';

/**
 * The config.json that a plugin wants. Limits and oom_score_adj are not part of it: see
 * `withLimits`; nor are CDI devices, which pods look up. Fails with INVALID_ARGUMENT for what cannot be done.
 */
export function adjustSpec(
  spec: RuntimeConfig,
  adjustment: ContainerAdjustment,
  runtime: RuntimeAbility,
): RuntimeConfig {
  const { annotations, mounts, hooks, CDIDevices, linux } = adjustment;
  const [device] = CDIDevices;
  if (device !== undefined && runtime.hasOwnKernel) {
    throw refusal(`CDI device "${device.name}"`, 'the runtime gives each pod a kernel of its own');
  }
  const adjusted: RuntimeConfig = {
    ...spec,
    process: adjustProcess(spec.process, adjustment, runtime),
    annotations: adjustMap(spec.annotations ?? {}, annotations, (value) => value),
    ...(hooks === undefined ? {} : { hooks: addHooks(spec.hooks ?? {}, hooks) }),
  };
  const mounted = mounts.length === 0 ? adjusted : withMounts(adjusted, mounts);
  return linux === undefined ? mounted : adjustLinux(mounted, linux, runtime);
}

function adjustProcess(
  process: Process,
  { args, env, rlimits, linux }: ContainerAdjustment,
  runtime: RuntimeAbility,
): Process {
  const adjusted: Process = {
    ...process,
    args: args.length === 0 ? process.args : args.slice(args[0] === '' ? 1 : 0),
    env: adjustList(process.env, env, { before: nameOf, item: ({ key }) => key }, variable),
  };
  if (adjusted.args.length === 0) throw refusal('no arguments', 'a process needs a program');
  if (rlimits.length > 0) {
    const type = (each: { type: string }) => each.type;
    adjusted.rlimits = adjustList(
      process.rlimits ?? [],
      rlimits,
      { before: type, item: type },
      ({ hard, soft, ...limit }) => ({ ...limit, hard: exact(hard), soft: exact(soft) }),
    );
  }
  if (linux?.ioPriority !== undefined) {
    delete adjusted.ioPriority;
    Object.assign(adjusted, ioPriority(linux.ioPriority, runtime));
  }
  if (linux?.scheduler !== undefined) {
    delete adjusted.scheduler;
    Object.assign(adjusted, scheduler(linux.scheduler, runtime));
  }
  return adjusted;
}

function nameOf(variable: string): string {
  return variable.split('=', 1)[0] ?? '';
}

function variable({ key, value }: KeyValue): string {
  if (key !== '' && !key.includes('=')) return `${key}=${value}`;
  throw refusal(`variable "${key}"`, 'that is no name');
}

/** As a number where that holds it. */
function exact(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** By depth, so that a mount never hides one made below it. */
function withMounts(spec: RuntimeConfig, mounts: Mount[]): RuntimeConfig {
  const destination = (each: { destination: string }) => each.destination;
  const all = adjustList(spec.mounts, mounts, { before: destination, item: destination }, mountOf);
  const depth = (mount: SpecMount) => mount.destination.split('/').filter(Boolean).length;
  const propagation = propagationFor(spec.linux.rootfsPropagation, mounts);
  return {
    ...spec,
    mounts: all.toSorted((a, b) => depth(a) - depth(b)),
    linux: {
      ...spec.linux,
      ...(propagation === undefined ? {} : { rootfsPropagation: propagation }),
    },
  };
}

function mountOf({ destination, type, source, options }: Mount): SpecMount {
  if (!destination.startsWith('/') || destination.split('/').includes('..')) {
    throw refusal(`a mount at "${destination}"`, 'that is no absolute path');
  }
  return { destination, ...(type === '' ? {} : { type }), source, options };
}

/** A mount is shared with the host, or follows it, only if the root filesystem's is too. */
function propagationFor(now: string | undefined, mounts: Mount[]): string | undefined {
  const options = new Set(mounts.flatMap((mount) => mount.options));
  if (options.has('shared') || options.has('rshared')) return 'rshared';
  const follows = options.has('slave') || options.has('rslave');
  return follows && now !== 'rshared' && now !== 'shared' ? 'rslave' : now;
}

function addHooks(before: Hooks, added: HooksMessage): Hooks {
  const hooks = { ...before };
  for (const kind of HOOK_KINDS) {
    if (added[kind].length > 0) hooks[kind] = [...(hooks[kind] ?? []), ...added[kind].map(hookOf)];
  }
  return hooks;
}

const HOOK_KINDS = [
  ...(['prestart', 'createRuntime', 'createContainer'] as const),
  ...(['startContainer', 'poststart', 'poststop'] as const),
];

function hookOf({ path, args, env, timeout }: HookMessage): Hook {
  if (!path.startsWith('/')) throw refusal(`hook "${path}"`, 'that is no absolute path');
  return {
    path,
    ...(args.length === 0 ? {} : { args }),
    ...(env.length === 0 ? {} : { env }),
    ...(timeout === undefined ? {} : { timeout: toNumber('hook timeout', timeout.value) }),
  };
}
