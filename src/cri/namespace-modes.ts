import {
  NamespaceMode as CriMode,
  type IDMapping,
  type NamespaceOption,
  type UserNamespace,
} from '../gen/runtime/v1/api.ts';
import type { IdRange, NamespaceMode, NamespaceModes, UserMappings } from '../pods/index.ts';
import { invalid, required } from './invalid.ts';

const MODES = new Map<number, NamespaceMode>([
  [CriMode.POD, 'pod'],
  [CriMode.CONTAINER, 'container'],
  [CriMode.NODE, 'node'],
  [CriMode.TARGET, 'target'],
]);

/** Namespace options; left out, all are those of the pod. */
export function toNamespaceModes(
  field: string,
  options: NamespaceOption | undefined,
): NamespaceModes {
  const podOrNode = (name: string, value: number): 'pod' | 'node' => {
    const mode = MODES.get(value);
    if (mode === 'pod' || mode === 'node') return mode;
    throw invalid(`${field}.${name}`, `${mode?.toUpperCase() ?? value} is neither POD nor NODE`);
  };
  const pid = MODES.get(options?.pid ?? CriMode.POD);
  if (pid === undefined) throw invalid(`${field}.pid`, `there is no mode ${options?.pid}`);
  if (pid === 'target') required(`${field}.target_id`, options?.targetId);
  return {
    network: podOrNode('network', options?.network ?? CriMode.POD),
    ipc: podOrNode('ipc', options?.ipc ?? CriMode.POD),
    pid,
    targetId: options?.targetId ?? '',
    user: toUserMappings(`${field}.userns_options`, options?.usernsOptions),
  };
}

/**
 * The ids of a user namespace; undefined for the host's. One range of users and one of
 * groups are taken, as kubelets give them, with root in them: without it nothing would run.
 */
function toUserMappings(
  field: string,
  options: UserNamespace | undefined,
): UserMappings | undefined {
  if (options === undefined || options.mode === CriMode.NODE) return undefined;
  if (options.mode !== CriMode.POD) {
    throw invalid(`${field}.mode`, `${options.mode} is neither POD nor NODE`);
  }
  return {
    uids: single(`${field}.uids`, options.uids),
    gids: single(`${field}.gids`, options.gids),
  };
}

function single(field: string, mappings: readonly IDMapping[]): IdRange {
  const [mapping, ...more] = mappings.map((each) => toIdRange(field, each));
  if (mapping === undefined || more.length > 0) {
    throw invalid(field, `${mappings.length} mappings are given: it must be exactly one`);
  }
  if (mapping.containerId !== 0) {
    throw invalid(field, `it maps ids from ${mapping.containerId} on: root (0) must be mapped`);
  }
  return mapping;
}

/** One range of ids; both sides must lie within 32 bits. */
export function toIdRange(field: string, { containerId, hostId, length }: IDMapping): IdRange {
  if (length === 0) throw invalid(field, 'it maps no ids: length is 0');
  for (const first of [containerId, hostId]) {
    if (first + length > 2 ** 32 - 1) {
      throw invalid(field, `${length} ids from ${first} on are more than there are`);
    }
  }
  return { containerId, hostId, length };
}
