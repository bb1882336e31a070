import {
  type LinuxContainerAdjustment,
  type LinuxDevice,
  type LinuxDeviceCgroup,
  type LinuxMemoryPolicy,
  type LinuxNamespace,
  type LinuxRdt,
  type LinuxSeccomp,
  mpolFlagToJSON,
  mpolModeToJSON,
} from '../../gen/nri/v1alpha1/api.ts';
import type {
  DeviceNode,
  DeviceRule,
  LinuxConfig,
  NamespaceType,
  RuntimeConfig,
  Seccomp,
} from '../../oci/spec/index.ts';
import { resourceClaims } from './claims.ts';
import { toNumber } from './limits.ts';
import { refusal } from './refusal.ts';
import { adjustList, adjustMap, split } from './removal.ts';
import { need, type RuntimeAbility } from './scheduling.ts';

/** The part of `adjustSpec` that is about Linux. */
export function adjustLinux(
  spec: RuntimeConfig,
  wanted: LinuxContainerAdjustment,
  runtime: RuntimeAbility,
): RuntimeConfig {
  if (runtime.hasOwnKernel) refuseHostKernel(wanted);
  const linux: LinuxConfig = {
    ...spec.linux,
    ...devicesFor(spec.linux, wanted),
    namespaces: adjustList(
      spec.linux.namespaces,
      wanted.namespaces,
      { before: ({ type }) => type, item: ({ type }) => type },
      (namespace) => namespaceOf(namespace, runtime),
    ),
  };
  if (wanted.cgroupsPath !== '') linux.cgroupsPath = wanted.cgroupsPath;
  if (wanted.seccompPolicy !== undefined) linux.seccomp = seccompOf(wanted.seccompPolicy);
  if (Object.keys(wanted.sysctl).length > 0) {
    linux.sysctl = adjustMap(linux.sysctl ?? {}, wanted.sysctl, (value) => value);
  }
  if (Object.keys(wanted.netDevices).length > 0) {
    need('network devices', '1.3.0', runtime);
    linux.netDevices = adjustMap(linux.netDevices ?? {}, wanted.netDevices, ({ name }) =>
      name === '' ? {} : { name },
    );
  }
  if (wanted.memoryPolicy !== undefined) {
    need('memory policy', '1.3.0', runtime);
    linux.memoryPolicy = memoryPolicyOf(wanted.memoryPolicy);
  }
  const rdtClass = wanted.resources?.rdtClass?.value;
  if (rdtClass !== undefined && rdtClass !== '') linux.intelRdt = { closID: rdtClass };
  return { ...spec, linux: wanted.rdt === undefined ? linux : withRdt(linux, wanted.rdt, runtime) };
}

/** Such a runtime would leave these out without a word. */
function refuseHostKernel(wanted: LinuxContainerAdjustment): void {
  const { devices, namespaces, sysctl, resources, cgroupsPath } = wanted;
  const asked = {
    devices: devices.length > 0,
    namespaces: namespaces.length > 0,
    sysctls: Object.keys(sysctl).length > 0,
    'a cgroup': cgroupsPath !== '',
    'a seccomp policy': wanted.seccompPolicy !== undefined,
    'an RDT class': wanted.rdt !== undefined,
    limits: resources !== undefined && resourceClaims(resources).length > 0,
  };
  const [what] = Object.entries(asked).find(([, isAsked]) => isAsked) ?? [];
  if (what !== undefined) throw refusal(what, 'its runtime has a kernel of its own for each pod');
}

/** Device nodes, each with the right to use it, and rules that are asked for by themselves. */
function devicesFor(
  { devices: before = [], resources }: LinuxConfig,
  wanted: LinuxContainerAdjustment,
): Pick<LinuxConfig, 'devices' | 'resources'> {
  const path = (each: { path: string }) => each.path;
  const devices = adjustList(before, wanted.devices, { before: path, item: path }, nodeOf);
  const { added, removed } = split(wanted.devices, path);
  const gone = new Set(before.filter((node) => removed.has(node.path)).map(numbersOf));
  const rules = [
    ...(resources.devices ?? []).filter((rule) => !rule.allow || !gone.has(numbersOf(rule))),
    ...added.map(nodeOf).flatMap(ruleFor),
    ...(wanted.resources?.devices ?? []).map(ruleOf),
  ];
  return { devices, resources: { ...resources, devices: rules } };
}

function numbersOf({ type, major, minor }: DeviceRule | DeviceNode): string {
  return `${type} ${major}:${minor}`;
}

function nodeOf({ path, type, major, minor, fileMode, uid, gid }: LinuxDevice): DeviceNode {
  const kind = { c: 'c', u: 'c', b: 'b', p: 'p' }[type] as DeviceNode['type'] | undefined;
  if (kind === undefined || !path.startsWith('/')) {
    throw refusal(`device "${path}" of type "${type}"`, 'it needs an absolute path and a type');
  }
  return {
    path,
    type: kind,
    major: toNumber('device number', major),
    minor: toNumber('device number', minor),
    ...(fileMode === undefined ? {} : { fileMode: fileMode.value }),
    ...(uid === undefined ? {} : { uid: uid.value }),
    ...(gid === undefined ? {} : { gid: gid.value }),
  };
}

function ruleFor({ type, major, minor }: DeviceNode): DeviceRule[] {
  return type === 'p' ? [] : [{ allow: true, type, major, minor, access: 'rwm' }];
}

function ruleOf({ allow, type, major, minor, access }: LinuxDeviceCgroup): DeviceRule {
  if (!/^[abc]?$/.test(type) || !/^[rwm]*$/.test(access)) {
    throw refusal(`device rule "${type} ${access}"`, 'there is no such type or access');
  }
  return {
    allow,
    ...(type === '' ? {} : { type: type as 'a' | 'b' | 'c' }),
    ...(major === undefined ? {} : { major: toNumber('device number', major.value) }),
    ...(minor === undefined ? {} : { minor: toNumber('device number', minor.value) }),
    ...(access === '' ? {} : { access }),
  };
}

const NAMESPACES: readonly string[] = [
  ...['pid', 'network', 'mount', 'ipc', 'uts', 'user', 'cgroup', 'time'],
];

function namespaceOf(
  { type, path }: LinuxNamespace,
  runtime: RuntimeAbility,
): LinuxConfig['namespaces'][number] {
  if (!NAMESPACES.includes(type)) throw refusal(`namespace "${type}"`, 'there is no such type');
  if (type === 'time') need('time namespace', '1.1.0', runtime);
  return { type: type as NamespaceType, ...(path === '' ? {} : { path }) };
}

function seccompOf(policy: LinuxSeccomp): Seccomp {
  const { defaultAction, defaultErrno, architectures, flags, syscalls } = policy;
  if (defaultAction === '') throw refusal('a seccomp policy', 'it has no default action');
  const { listenerPath, listenerMetadata } = policy;
  return {
    defaultAction,
    ...(defaultErrno === undefined ? {} : { defaultErrnoRet: defaultErrno.value }),
    ...(architectures.length === 0 ? {} : { architectures }),
    ...(flags.length === 0 ? {} : { flags }),
    ...(listenerPath === '' ? {} : { listenerPath }),
    ...(listenerMetadata === '' ? {} : { listenerMetadata }),
    syscalls: syscalls.map(({ names, action, errnoRet, args }) => ({
      names,
      action,
      ...(errnoRet === undefined ? {} : { errnoRet: errnoRet.value }),
      args: args.map(({ valueTwo, ...arg }) => ({
        ...arg,
        ...(valueTwo === 0n ? {} : { valueTwo }),
      })),
    })),
  };
}

function memoryPolicyOf({
  mode,
  nodes,
  flags,
}: LinuxMemoryPolicy): LinuxConfig['memoryPolicy'] & {} {
  return {
    mode: mpolModeToJSON(mode),
    nodes,
    ...(flags.length === 0 ? {} : { flags: flags.map(mpolFlagToJSON) }),
  };
}

/** A class of its own is enough for old runtimes; what it may use is not. */
function withRdt(linux: LinuxConfig, rdt: LinuxRdt, runtime: RuntimeAbility): LinuxConfig {
  const { intelRdt, ...rest } = linux;
  const { closId, schemata, enableMonitoring } = rdt;
  if (schemata !== undefined) need('RDT schemata', '1.3.0', runtime);
  if (enableMonitoring !== undefined) need('RDT monitoring', '1.3.0', runtime);
  const adjusted = {
    ...(rdt.remove ? {} : intelRdt),
    ...(closId === undefined ? {} : { closID: closId.value }),
    ...(schemata === undefined ? {} : { schemata: schemata.value }),
    ...(enableMonitoring === undefined ? {} : { enableMonitoring: enableMonitoring.value }),
  };
  return Object.keys(adjusted).length === 0 ? rest : { ...rest, intelRdt: adjusted };
}
