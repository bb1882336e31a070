import { z } from 'zod';
import { namespaceName, objectName } from './metadata.ts';

/** Where a Secret lies. It is read when a call needs it, and never kept. */
export const secretReference = z.strictObject({ name: objectName, namespace: namespaceName });

export type SecretReference = z.output<typeof secretReference>;

/** Another object, as `claimRef` and snapshot references name it. */
export const objectReference = z.strictObject({
  kind: z.string().optional(),
  apiVersion: z.string().optional(),
  name: objectName,
  namespace: namespaceName.optional(),
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  fieldPath: z.string().optional(),
});

export const accessMode = z.enum([
  'ReadWriteOnce',
  'ReadOnlyMany',
  'ReadWriteMany',
  'ReadWriteOncePod',
]);

export type AccessMode = z.output<typeof accessMode>;

/** ReadWriteOncePod excludes all others (Kubernetes API validation). */
export const accessModes = z
  .array(accessMode)
  .min(1, 'must name at least one access mode')
  .refine((modes) => modes.length === 1 || !modes.includes('ReadWriteOncePod'), {
    error: 'ReadWriteOncePod goes with no other access mode',
  });

export const volumeMode = z.enum(['Filesystem', 'Block']);

export const condition = z.strictObject({
  type: z.string(),
  status: z.enum(['True', 'False', 'Unknown']),
  lastProbeTime: z.string().nullish(),
  lastTransitionTime: z.string().nullish(),
  reason: z.string().optional(),
  message: z.string().optional(),
});

export type Condition = z.output<typeof condition>;

const requirement = z.strictObject({
  key: z.string().min(1),
  operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
  values: z.array(z.string()).optional(),
});

export const labelSelector = z.strictObject({
  matchLabels: z.record(z.string(), z.string()).optional(),
  matchExpressions: z.array(requirement).optional(),
});

export type LabelSelector = z.output<typeof labelSelector>;

/** Whether labels fulfil a selector; an empty one takes all. */
export function selects(
  selector: LabelSelector | undefined,
  labels: Readonly<Record<string, string>>,
): boolean {
  const equal = Object.entries(selector?.matchLabels ?? {}).every(
    ([key, value]) => labels[key] === value,
  );
  return equal && (selector?.matchExpressions ?? []).every((each) => fulfils(each, labels));
}

const nodeRequirement = requirement.extend({
  operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt']),
});

type NodeRequirement = z.output<typeof nodeRequirement>;

const nodeSelectorTerm = z.strictObject({
  matchExpressions: z.array(nodeRequirement).optional(),
  matchFields: z.array(nodeRequirement).optional(),
});

/** The nodes that a volume can be reached from (`spec.nodeAffinity`). */
export const nodeAffinity = z.strictObject({
  required: z.strictObject({ nodeSelectorTerms: z.array(nodeSelectorTerm).min(1) }).optional(),
});

export type NodeAffinity = z.output<typeof nodeAffinity>;

/** A node as affinities see it. */
export interface NodeIdentity {
  name: string;
  labels: Readonly<Record<string, string>>;
}

/** Whether a node fits. Terms are alternatives, the expressions of one all must hold. */
export function reachableFrom(affinity: NodeAffinity | undefined, node: NodeIdentity): boolean {
  const terms = affinity?.required?.nodeSelectorTerms;
  if (terms === undefined) return true;
  const fields = { 'metadata.name': node.name };
  return terms.some(({ matchExpressions = [], matchFields = [] }) => {
    if (matchExpressions.length + matchFields.length === 0) return false;
    return (
      matchExpressions.every((each) => fulfils(each, node.labels)) &&
      matchFields.every((each) => fulfils(each, fields))
    );
  });
}

function fulfils(
  { key, operator, values = [] }: NodeRequirement,
  labels: Readonly<Record<string, string>>,
): boolean {
  const value = labels[key];
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return Number(value) > Number(values[0]);
    case 'Lt':
      return Number(value) < Number(values[0]);
  }
}
