import {
  type ContainerAdjustment,
  Field,
  type Hooks,
  type LinuxContainerAdjustment,
  type LinuxRdt,
  type LinuxResources,
} from '../../gen/nri/v1alpha1/api.ts';
import { split } from './removal.ts';

/** That a plugin sets something of a container, or takes away what was set before. */
export interface Claim {
  field: Field;
  /** Which of several; undefined where there is one. */
  key?: string;
  removal: boolean;
}

/** All that an adjustment claims; what it removes comes before what it sets. */
export function claimsOf(adjustment: ContainerAdjustment): Claim[] {
  const { annotations, mounts, env, args, hooks, rlimits, CDIDevices, linux } = adjustment;
  return [
    ...named(Field.Annotations, Object.keys(annotations)),
    ...listed(Field.Mounts, mounts, (mount) => mount.destination),
    ...listed(Field.Env, env, (variable) => variable.key),
    ...argsClaims(args),
    ...hooksClaims(hooks),
    ...listed(Field.Rlimits, rlimits, (limit) => limit.type),
    ...listed(Field.CdiDevices, CDIDevices, (device) => device.name),
    ...(linux === undefined ? [] : linuxClaims(linux)),
  ];
}

function linuxClaims(linux: LinuxContainerAdjustment): Claim[] {
  return [
    ...listed(Field.Devices, linux.devices, (device) => device.path),
    ...listed(Field.Namespace, linux.namespaces, (namespace) => namespace.type),
    ...named(Field.Sysctl, Object.keys(linux.sysctl)),
    ...named(Field.LinuxNetDevices, Object.keys(linux.netDevices)),
    ...given([
      [Field.CgroupsPath, linux.cgroupsPath || undefined],
      [Field.OomScoreAdj, linux.oomScoreAdj],
      [Field.IoPriority, linux.ioPriority],
      [Field.SeccompPolicy, linux.seccompPolicy],
      [Field.LinuxSched, linux.scheduler],
      [Field.MemoryPolicy, linux.memoryPolicy],
    ]),
    ...(linux.rdt === undefined ? [] : rdtClaims(linux.rdt)),
    ...(linux.resources === undefined ? [] : resourceClaims(linux.resources)),
  ];
}

/** What limits claim, in an adjustment as in an update. */
export function resourceClaims(resources: LinuxResources): Claim[] {
  const { memory, cpu, hugepageLimits, unified, pids, blockioClass, rdtClass } = resources;
  return [
    ...given([
      [Field.MemLimit, memory?.limit],
      [Field.MemReservation, memory?.reservation],
      [Field.MemSwapLimit, memory?.swap],
      [Field.MemKernelLimit, memory?.kernel],
      [Field.MemTCPLimit, memory?.kernelTcp],
      [Field.MemSwappiness, memory?.swappiness],
      [Field.MemDisableOomKiller, memory?.disableOomKiller],
      [Field.MemUseHierarchy, memory?.useHierarchy],
      [Field.CPUShares, cpu?.shares],
      [Field.CPUQuota, cpu?.quota],
      [Field.CPUPeriod, cpu?.period],
      [Field.CPURealtimeRuntime, cpu?.realtimeRuntime],
      [Field.CPURealtimePeriod, cpu?.realtimePeriod],
      [Field.CPUSetCPUs, cpu?.cpus || undefined],
      [Field.CPUSetMems, cpu?.mems || undefined],
      [Field.PidsLimit, pids],
      [Field.BlockioClass, blockioClass],
      [Field.RdtClass, rdtClass],
    ]),
    ...listed(Field.HugepageLimits, hugepageLimits, (limit) => limit.pageSize),
    ...named(Field.CgroupsUnified, Object.keys(unified)),
  ];
}

function rdtClaims(rdt: LinuxRdt): Claim[] {
  const fields = [Field.RdtClosID, Field.RdtSchemata, Field.RdtEnableMonitoring];
  return [
    ...(rdt.remove ? fields.map((field) => ({ field, removal: true })) : []),
    ...given([
      [Field.RdtClosID, rdt.closId],
      [Field.RdtSchemata, rdt.schemata],
      [Field.RdtEnableMonitoring, rdt.enableMonitoring],
    ]),
  ];
}

/** A first argument that is empty lets go of what another plugin said. */
function argsClaims(args: readonly string[]): Claim[] {
  if (args.length === 0) return [];
  const claim = { field: Field.Args, removal: false };
  return args[0] === '' ? [{ ...claim, removal: true }, claim] : [claim];
}

function hooksClaims(hooks: Hooks | undefined): Claim[] {
  const some = Object.values(hooks ?? {}).some((each: unknown[]) => each.length > 0);
  return some ? [{ field: Field.OciHooks, removal: false }] : [];
}

function given(fields: [field: Field, value: unknown][]): Claim[] {
  const set = fields.filter(([, value]) => value !== undefined);
  return set.map(([field]) => ({ field, removal: false }));
}

function named(field: Field, names: readonly string[]): Claim[] {
  return listed(field, names, (name) => name);
}

function listed<T>(field: Field, items: readonly T[], nameOf: (item: T) => string): Claim[] {
  const { added, removed } = split(items, nameOf);
  return [
    ...[...removed].map((key) => ({ field, key, removal: true })),
    ...added.map((item) => ({ field, key: nameOf(item), removal: false })),
  ];
}
