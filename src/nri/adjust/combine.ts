import { ContainerAdjustment } from '../../gen/nri/v1alpha1/api.ts';
import { removalOf } from './removal.ts';

/**
 * Two adjustments as one that does what both do one after the other: for those who judge
 * the outcome. Nobody else set what the later one sets: see `Owners`.
 */
export function combine(
  earlier: ContainerAdjustment,
  later: ContainerAdjustment,
): ContainerAdjustment {
  const hooks = mergeHooks(earlier, later);
  const merged = merge(earlier, later) as ContainerAdjustment;
  const args = later.args.length > 0 ? later.args : earlier.args;
  return ContainerAdjustment.fromPartial({ ...merged, args, ...(hooks && { hooks }) });
}

/** Hooks add up, also those that are alike. */
function mergeHooks({ hooks: a }: ContainerAdjustment, { hooks: b }: ContainerAdjustment) {
  if (a === undefined || b === undefined) return a ?? b;
  return {
    prestart: [...a.prestart, ...b.prestart],
    createRuntime: [...a.createRuntime, ...b.createRuntime],
    createContainer: [...a.createContainer, ...b.createContainer],
    startContainer: [...a.startContainer, ...b.startContainer],
    poststart: [...a.poststart, ...b.poststart],
    poststop: [...a.poststop, ...b.poststop],
  };
}

/** Fields whose empty text says nothing. */
const TEXTS: ReadonlySet<string> = new Set(['cgroupsPath', 'cpus', 'mems']);

/** What names an item in the lists of an adjustment. */
const NAMES = ['destination', 'path', 'type', 'key', 'name', 'pageSize'] as const;

function merge(earlier: unknown, later: unknown): unknown {
  if (Array.isArray(earlier) && Array.isArray(later)) return mergeLists(earlier, later);
  if (!isObject(earlier) || !isObject(later)) return later ?? earlier;
  const kept = Object.entries(earlier).filter(([key]) => !isRemoved(key, later));
  const set = Object.entries(later).filter(([key, value]) => value !== '' || !TEXTS.has(key));
  const merged = set.map(([key, value]) => [key, merge(earlier[key], value)]);
  return { ...Object.fromEntries(kept), ...Object.fromEntries(merged) };
}

function mergeLists(earlier: unknown[], later: unknown[]): unknown[] {
  const names = new Set(later.map(nameOf));
  const kept = earlier.filter((item) => {
    const name = nameOf(item);
    return name === undefined || !(names.has(name) || names.has(`-${name}`));
  });
  return [...kept, ...later];
}

function nameOf(item: unknown): string | undefined {
  if (!isObject(item)) return undefined;
  const name = NAMES.map((key) => item[key]).find((value) => typeof value === 'string');
  return name as string | undefined;
}

/** Only a map has such keys. */
function isRemoved(key: string, later: Record<string, unknown>): boolean {
  return removalOf(key) === undefined && `-${key}` in later;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
