import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { during, KeelsonError } from '../base/index.ts';
import { cgroupDirectories, missingCgroupDirectories } from '../linux/index.ts';
import type { ImageRecord } from '../oci/images/index.ts';
import { type RuntimeConfig, runtimeConfigText } from '../oci/spec/index.ts';
import { cgroupDirectoryOf, checkedCgroupsPath } from './cgroup-paths.ts';
import { prepareLog } from './container-log.ts';
import type { ContainerPaths } from './container-paths.ts';
import { oomScoreAdjFor, resourcesFor } from './container-resources.ts';
import { containerSpec } from './container-spec.ts';
import { injectCdiDevices } from './inject-cdi.ts';
import type { AdjustedContainer } from './lifecycle-observer.ts';
import { prepareSources, relabelSources } from './mount-sources.ts';
import type { Pods } from './pods.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';
import { mergeResources } from './update-container.ts';

/** A container and its config.json, before that is written. */
export interface Bundle {
  record: ContainerRecord;
  spec: RuntimeConfig;
}

/** Works out config.json, and lets whoever observes change it. */
export async function decideBundle(
  pods: Pods,
  parts: {
    container: ContainerRecord;
    sandbox: SandboxRecord;
    image: ImageRecord;
    paths: ContainerPaths;
  },
): Promise<Bundle> {
  const { container, sandbox, image, paths } = parts;
  const { mountOptions } = await pods.runtimes.features(container.handler);
  const sources = await prepareSources(pods, { mounts: container.config.mounts, sandbox, paths });
  await relabelSources(pods, { record: container, sandbox, sources });
  const proposed = await containerSpec(pods, {
    container,
    sandbox,
    image: image.config,
    paths,
    sources,
    mountFeatures: { options: mountOptions },
  });
  const adjusted = await pods.observer?.containerCreating({
    sandbox,
    container,
    spec: proposed,
  });
  if (adjusted === undefined) return { record: container, spec: proposed };
  try {
    const { cdiDevices } = adjusted;
    const spec = await injectCdiDevices(adjusted.spec, cdiDevices, pods.settings.cdiDirectories);
    const bundle = withAdjustment(pods, container, { ...adjusted, spec });
    if (bundle.record.cgroupsPath !== container.cgroupsPath) {
      await moveCgroup(pods, sandbox, bundle.record);
    }
    return bundle;
  } catch (error) {
    throw during('Cannot adjust it as observers of pods want', error);
  }
}

function withAdjustment(
  pods: Pods,
  container: ContainerRecord,
  { spec, resources: changes }: AdjustedContainer,
): Bundle {
  const resources = mergeResources(container.config.resources, changes);
  const { devices = [] } = spec.linux.resources;
  const limits = resourcesFor(resources, pods.host, pods.settings.pidsLimit);
  const oomScoreAdj = oomScoreAdjFor(resources.oomScoreAdj, pods.host);
  return {
    record: {
      ...container,
      config: { ...container.config, resources },
      cgroupsPath: checkedCgroupsPath(pods.settings.cgroupDriver, spec.linux.cgroupsPath),
    },
    spec: {
      ...spec,
      process: { ...spec.process, ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }) },
      linux: { ...spec.linux, resources: { ...limits, devices } },
    },
  };
}

/** Writes down where the container will be before it is there; directories go with the pod. */
async function moveCgroup(
  pods: Pods,
  sandbox: SandboxRecord,
  record: ContainerRecord,
): Promise<void> {
  const { cgroups } = pods.host;
  const path = cgroupDirectoryOf(record.cgroupsPath);
  if (cgroupDirectories(cgroups, path).some((directory) => existsSync(directory))) {
    // What is in it would die with the container.
    throw new KeelsonError('ALREADY_EXISTS', `Cannot use cgroup "${record.cgroupsPath}"`, {
      reason: 'there is such a cgroup already',
    });
  }
  if (pods.settings.cgroupDriver === 'cgroupfs') {
    using _held = await pods.locks.acquire(sandbox.id);
    const { cgroupDirectories: known } = pods.sandboxes.get(sandbox.id);
    const missing = missingCgroupDirectories(cgroups, dirname(path));
    const directories = [...new Set([...known, ...missing])];
    await pods.sandboxes.update(pods.sandboxes.get(sandbox.id), {
      cgroupDirectories: directories,
    });
  }
  await pods.containers.update(record, {});
}

/** Writes config.json and prepares the log file. */
export async function writeBundle(
  parts: Bundle & { sandbox: SandboxRecord; paths: ContainerPaths },
): Promise<void> {
  const { record, spec, sandbox, paths } = parts;
  await mkdir(paths.bundle, { mode: 0o700 });
  await writeFile(join(paths.bundle, 'config.json'), runtimeConfigText(spec), { mode: 0o600 });
  await prepareLog(record.logPath, sandbox.config.logDirectory);
}
