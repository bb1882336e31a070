import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ifExists, KeelsonError, NEVER, writeFileAtomic } from '../base/index.ts';
import { processesOf } from '../linux/index.ts';
import { type Resources, runtimeConfigText } from '../oci/spec/index.ts';
import { cgroupDirectoryOf } from './cgroup-paths.ts';
import type { ContainerResources } from './config.ts';
import { containerPaths } from './container-paths.ts';
import { oomScoreAdjFor, resourcesFor } from './container-resources.ts';
import { readSpec } from './container-spec.ts';
import type { Pods } from './pods.ts';
import { isLive } from './record-exit.ts';
import type { ContainerRecord } from './records.ts';

/**
 * Changes the limits of a container that has not ended; values that are not given stay.
 * Whoever observes may want others. What is in effect afterwards is in the record.
 */
export async function updateContainerResources(
  pods: Pods,
  idOrPrefix: string,
  changes: ContainerResources,
  signal: AbortSignal,
): Promise<void> {
  const container = changeable(pods, idOrPrefix);
  // Without the lock: an observer may change other containers, whose own changes wait for it.
  const wanted = (await pods.observer?.containerUpdating(container, changes)) ?? changes;
  const changed = await changeLimits(pods, container.id, wanted, signal);
  await pods.observer?.containerUpdated(changed);
}

/**
 * Fails with FAILED_PRECONDITION if the container has ended, or is only being made, and with
 * UNIMPLEMENTED if its runtime cannot do it.
 */
function changeable(pods: Pods, idOrPrefix: string): ContainerRecord {
  const container = pods.containers.get(idOrPrefix);
  const action = `Cannot change the limits of container "${container.id}"`;
  if (!isLive(container)) {
    throw new KeelsonError('FAILED_PRECONDITION', action, {
      reason: `it is ${container.state.phase}`,
    });
  }
  const runtime = pods.runtimes.get(container.handler);
  if (runtime.needsSandbox) {
    throw new KeelsonError('UNIMPLEMENTED', action, {
      reason: `runtime handler "${runtime.handler}" limits pods as a whole, not their containers`,
    });
  }
  return container;
}

/** The same without telling anybody. */
export async function changeLimits(
  pods: Pods,
  idOrPrefix: string,
  changes: ContainerResources,
  signal: AbortSignal,
): Promise<ContainerRecord> {
  // One that is being made is locked until it is: it is no good to wait for that.
  const { id } = changeable(pods, idOrPrefix);
  using _held = await pods.locks.acquire(id, signal);
  const container = changeable(pods, id);
  const runtime = pods.runtimes.get(container.handler);
  const merged = mergeResources(container.config.resources, changes);
  const resources = resourcesFor(merged, pods.host, pods.settings.pidsLimit);
  // Not cancelled with the call: half an update would leave the record wrong.
  await runtime.update(id, resources, NEVER);
  if (changes.oomScoreAdj !== undefined) await adjustOomScores(pods, container, merged);
  await updateSpec(containerPaths(pods, id).bundle, resources);
  return pods.containers.update(container, {
    config: { ...container.config, resources: merged },
  });
}

/** Runtimes set it when a process starts; those that run are told one by one. */
async function adjustOomScores(
  pods: Pods,
  container: ContainerRecord,
  { oomScoreAdj }: ContainerResources,
): Promise<void> {
  const score = String(oomScoreAdjFor(oomScoreAdj, pods.host) ?? 0);
  const cgroup = cgroupDirectoryOf(container.cgroupsPath);
  for (const pid of await processesOf(pods.host.cgroups, cgroup)) {
    await ifExists(writeFile(`/proc/${pid}/oom_score_adj`, score, { flag: 'r+' }));
  }
}

/** config.json keeps saying what the container is. */
async function updateSpec(bundle: string, resources: Resources): Promise<void> {
  const spec = await readSpec(bundle);
  const linux = { ...spec.linux, resources: { ...spec.linux.resources, ...resources } };
  await writeFileAtomic(join(bundle, 'config.json'), runtimeConfigText({ ...spec, linux }));
}

/** `now` with the values of `changes` that are given. */
export function mergeResources(
  now: ContainerResources,
  changes: Partial<ContainerResources>,
): ContainerResources {
  const given = Object.entries(changes).filter(([, value]) => value !== undefined);
  const { hugepageLimits, unified, ...values } = Object.fromEntries(
    given,
  ) as Partial<ContainerResources>;
  return {
    ...now,
    ...values,
    hugepageLimits: hugepageLimits?.length ? hugepageLimits : now.hugepageLimits,
    unified: { ...now.unified, ...unified },
  };
}
