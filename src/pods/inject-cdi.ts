import type { DeviceRule, Hooks, RuntimeConfig } from '../oci/spec/index.ts';
import { cdiAdditions } from './cdi-devices.ts';

/**
 * A config.json with CDI devices that somebody wants beside those of the request. Fails as
 * `cdiAdditions` does.
 */
export async function injectCdiDevices(
  spec: RuntimeConfig,
  names: readonly string[],
  directories: readonly string[],
): Promise<RuntimeConfig> {
  if (names.length === 0) return spec;
  const request = { cdiDevices: [...names], annotations: {} };
  const { env, devices, mounts, additionalGids, hooks, intelRdt } = await cdiAdditions(
    request,
    directories,
  );
  const { process, linux } = spec;
  const gids = new Set([...(process.user.additionalGids ?? []), ...additionalGids]);
  const places = new Set(mounts.map(({ destination }) => destination));
  const paths = new Set(devices.map(({ node }) => node.path));
  return {
    ...spec,
    process: {
      ...process,
      env: withVariables(process.env, env),
      user: { ...process.user, additionalGids: [...gids] },
    },
    mounts: [...spec.mounts.filter(({ destination }) => !places.has(destination)), ...mounts],
    hooks: withHooks(spec.hooks ?? {}, hooks),
    linux: {
      ...linux,
      devices: [
        ...(linux.devices ?? []).filter(({ path }) => !paths.has(path)),
        ...devices.map(({ node }) => node),
      ],
      resources: {
        ...linux.resources,
        devices: [...(linux.resources.devices ?? []), ...devices.flatMap(ruleFor)],
      },
      ...(intelRdt === undefined ? {} : { intelRdt }),
    },
  };
}

function withVariables(env: readonly string[], added: readonly string[]): string[] {
  const nameOf = (variable: string) => variable.split('=', 1)[0];
  const names = new Set(added.map(nameOf));
  return [...env.filter((variable) => !names.has(nameOf(variable))), ...added];
}

function withHooks(hooks: Hooks, added: Hooks): Hooks {
  const kinds = Object.keys(added) as (keyof Hooks)[];
  const merged = kinds.map((kind) => [kind, [...(hooks[kind] ?? []), ...(added[kind] ?? [])]]);
  return { ...hooks, ...Object.fromEntries(merged) };
}

type Device = Awaited<ReturnType<typeof cdiAdditions>>['devices'][number];

function ruleFor({ node: { type, major, minor }, access }: Device): DeviceRule[] {
  return type === 'p' ? [] : [{ allow: true, type, major, minor, access }];
}
