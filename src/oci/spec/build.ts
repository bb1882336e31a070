import { capabilitiesFor } from './capabilities.ts';
import type { ContainerSpecRequest } from './container-spec.ts';
import { DEFAULT_DEVICE_RULES, defaultMounts } from './defaults.ts';
import type { DeviceRule, NamespaceType, RuntimeConfig, SpecMount } from './runtime-config.ts';
import { defaultSeccomp } from './seccomp.ts';

/** The newest version that Debian 12's crun knows; all later runtimes know it too. */
const OCI_VERSION = '1.0.2';

/** Writes the config.json of a container. Pure: what it says of the host comes with the request. */
export function buildRuntimeConfig(request: ContainerSpecRequest): RuntimeConfig {
  const { host, privileged } = request;
  const capabilities = capabilitiesFor(request.capabilities, {
    privileged,
    bounding: host.boundingCapabilities,
  });
  const { terminal, noNewPrivileges, oomScoreAdj, apparmorProfile, selinuxLabel, ...process } =
    request.process;
  const seccomp =
    request.seccomp === 'default' ? defaultSeccomp(capabilities.bounding) : request.seccomp;
  return {
    ociVersion: OCI_VERSION,
    process: {
      ...process,
      capabilities,
      ...(terminal ? { terminal } : {}),
      ...(noNewPrivileges ? { noNewPrivileges } : {}),
      ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }),
      ...(apparmorProfile === undefined ? {} : { apparmorProfile }),
      ...(selinuxLabel === undefined ? {} : { selinuxLabel }),
    },
    root: { path: request.rootfs, ...(request.readonlyRootfs ? { readonly: true } : {}) },
    mounts: mergeMounts(defaultMounts(request), request.mounts),
    ...(Object.keys(request.hooks ?? {}).length === 0 ? {} : { hooks: request.hooks ?? {} }),
    annotations: request.annotations,
    linux: {
      namespaces: Object.entries(request.namespaces).map(([type, path]) => ({
        type: type as NamespaceType,
        ...(path === undefined ? {} : { path }),
      })),
      ...(request.userMappings === undefined
        ? {}
        : { uidMappings: request.userMappings.uids, gidMappings: request.userMappings.gids }),
      resources: { ...request.resources, devices: deviceRules(request) },
      cgroupsPath: request.cgroupsPath,
      devices: request.devices.map((device) => device.node),
      rootfsPropagation: request.rootfsPropagation,
      ...(request.intelRdt === undefined ? {} : { intelRdt: request.intelRdt }),
      ...(request.mountLabel === undefined ? {} : { mountLabel: request.mountLabel }),
      ...(seccomp === undefined || privileged ? {} : { seccomp }),
      ...(privileged
        ? {}
        : {
            maskedPaths: [...request.maskedPaths],
            readonlyPaths: [...request.readonlyPaths],
          }),
    },
  };
}

function deviceRules(request: ContainerSpecRequest): DeviceRule[] {
  if (request.privileged) return [{ allow: true, access: 'rwm' }];
  return [
    ...DEFAULT_DEVICE_RULES,
    ...request.devices.flatMap(({ node, access }): DeviceRule[] =>
      node.type === 'p'
        ? []
        : [{ allow: true, type: node.type, major: node.major, minor: node.minor, access }],
    ),
  ];
}

/**
 * Default mounts, then the requested ones by depth, so that a mount never hides one made
 * below it. A requested mount replaces the default at the same place; one on /dev
 * replaces the defaults below /dev as well.
 */
function mergeMounts(defaults: SpecMount[], requested: readonly SpecMount[]): SpecMount[] {
  const places = new Set(requested.map((mount) => mount.destination));
  const kept = defaults.filter(
    ({ destination }) =>
      !places.has(destination) && !(places.has('/dev') && destination.startsWith('/dev/')),
  );
  const depth = ({ destination }: SpecMount) => destination.split('/').filter(Boolean).length;
  return [...kept, ...requested.toSorted((a, b) => depth(a) - depth(b))];
}
