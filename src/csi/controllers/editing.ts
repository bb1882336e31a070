import type { Condition, Stored } from '../objects/index.ts';

type Meta = { metadata: Stored['metadata'] };

/** Pure edits of objects: each answers a changed copy, or the same object if nothing changes. */

export function hasFinalizer({ metadata }: Meta, finalizer: string): boolean {
  return metadata.finalizers?.includes(finalizer) ?? false;
}

export function withFinalizer<T extends Meta>(object: T, finalizer: string): T {
  if (hasFinalizer(object, finalizer)) return object;
  const finalizers = [...(object.metadata.finalizers ?? []), finalizer];
  return { ...object, metadata: { ...object.metadata, finalizers } };
}

export function withoutFinalizer<T extends Meta>(object: T, finalizer: string): T {
  if (!hasFinalizer(object, finalizer)) return object;
  const finalizers = (object.metadata.finalizers ?? []).filter((each) => each !== finalizer);
  return { ...object, metadata: { ...object.metadata, finalizers } };
}

export function annotationOf({ metadata }: Meta, key: string): string | undefined {
  return metadata.annotations?.[key];
}

/** A value of undefined takes the annotation away. */
export function withAnnotations<T extends Meta>(
  object: T,
  changes: Readonly<Record<string, string | undefined>>,
): T {
  const annotations = Object.fromEntries(
    Object.entries({ ...object.metadata.annotations, ...changes }).filter(
      (entry): entry is [string, string] => entry[1] !== undefined,
    ),
  );
  return { ...object, metadata: { ...object.metadata, annotations } };
}

export function isDeleting({ metadata }: Meta): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/** The conditions with one of a type set; its time changes only with its status. */
export function withCondition(
  conditions: readonly Condition[] | undefined,
  condition: Condition,
): Condition[] {
  const before = conditions?.find(({ type }) => type === condition.type);
  const lastTransitionTime =
    before?.status === condition.status
      ? before.lastTransitionTime
      : (condition.lastTransitionTime ?? new Date().toISOString());
  const rest = (conditions ?? []).filter(({ type }) => type !== condition.type);
  return [...rest, { ...condition, lastTransitionTime }];
}

export function withoutCondition(
  conditions: readonly Condition[] | undefined,
  type: string,
): Condition[] {
  return (conditions ?? []).filter((each) => each.type !== type);
}
