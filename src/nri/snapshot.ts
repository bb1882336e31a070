import { ifExists } from '../base/index.ts';
import type { Container, PodSandbox } from '../gen/nri/v1alpha1/api.ts';
import type { RuntimeConfig } from '../oci/spec/index.ts';
import { type ContainerRecord, containerPaths, type Pods, readSpec } from '../pods/index.ts';
import { containerMessage, podMessage } from './messages.ts';
import type { Told } from './told.ts';

/** All pods and the containers that have not ended, as a plugin that joins gets to know them. */
export async function snapshot(
  pods: Pods,
  told: Told,
): Promise<{ pods: PodSandbox[]; containers: Container[] }> {
  const isThere = ({ id, state }: { id: string; state: { phase: string } }) =>
    !told.hasEnded(id) && (state.phase !== 'creating' || told.hasBegun(id));
  const sandboxes = pods.sandboxes.list().filter(isThere);
  const containers = pods.containers
    .list()
    .filter((container) => isThere(container) && container.state.phase !== 'exited');
  return {
    pods: sandboxes.map(podMessage),
    containers: await Promise.all(
      containers.map(async (container) =>
        containerMessage(container, await specOf(pods, container)),
      ),
    ),
  };
}

/** Undefined for a container that has none yet, or none any more. */
export function specOf(pods: Pods, { id }: ContainerRecord): Promise<RuntimeConfig | undefined> {
  return ifExists(readSpec(containerPaths(pods, id).bundle));
}
