import { KeelsonError } from '../../base/index.ts';
import type { Topology, TopologyRequirement } from '../../gen/csi/v1/csi.ts';
import type { HostPathContext } from './context.ts';

/** Volumes are on this node and nowhere else. */
export function topologyOf({ topologyKey, nodeId }: HostPathContext): Topology {
  return { segments: { [topologyKey]: nodeId } };
}

/** Whether this node is in a part of the cluster. Keys of others say nothing of this driver. */
export function isHere({ topologyKey, nodeId }: HostPathContext, topology: Topology): boolean {
  const value = Object.entries(topology.segments).find(
    ([key]) => key.toLowerCase() === topologyKey.toLowerCase(),
  )?.[1];
  return value === undefined || value.toLowerCase() === nodeId.toLowerCase();
}

/** Fails with RESOURCE_EXHAUSTED where a volume cannot be reached from any place that is required. */
export function checkTopology(
  context: HostPathContext,
  requirement: TopologyRequirement | undefined,
): void {
  const requisite = requirement?.requisite ?? [];
  const preferred = requirement?.preferred ?? [];
  const wanted = requisite.length > 0 ? requisite : preferred;
  if (wanted.length === 0 || wanted.some((topology) => isHere(context, topology))) return;
  throw new KeelsonError('RESOURCE_EXHAUSTED', 'Cannot make a volume there', {
    reason: `volumes of this driver are on node "${context.nodeId}" only`,
  });
}
