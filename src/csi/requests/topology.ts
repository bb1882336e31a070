import type { Topology, TopologyRequirement } from '../../gen/csi/v1/csi.ts';
import type { NodeAffinity, StorageClass } from '../objects/index.ts';

type Segments = Readonly<Record<string, string>>;

/** The nodes that topologies of a driver name. None: every node. */
export function affinityOf(topologies: readonly Topology[]): NodeAffinity | undefined {
  const terms = topologies
    .map(({ segments }) => ({
      matchExpressions: Object.entries(segments)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, value]) => ({ key, operator: 'In' as const, values: [value] })),
    }))
    .filter(({ matchExpressions }) => matchExpressions.length > 0);
  return terms.length === 0 ? undefined : { required: { nodeSelectorTerms: terms } };
}

/**
 * Where a new volume must be reachable from: this node, which is the only one there is.
 * Undefined when the class allows no topology that this node is part of.
 */
export function requirementFor(
  segments: Segments,
  allowed: StorageClass['allowedTopologies'],
): TopologyRequirement | undefined {
  const fits = (allowed ?? []).some(({ matchLabelExpressions = [] }) =>
    matchLabelExpressions.every(({ key, values }) => values.includes(segments[key] ?? '')),
  );
  if (allowed !== undefined && allowed.length > 0 && !fits) return undefined;
  const topology = { segments: { ...segments } };
  return { requisite: [topology], preferred: [topology] };
}
