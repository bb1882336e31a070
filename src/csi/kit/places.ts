import { createHash } from 'node:crypto';
import { KeelsonError } from '../../base/index.ts';
import {
  VolumeCapability_AccessMode_Mode as Mode,
  type VolumeCapability,
} from '../../gen/csi/v1/csi.ts';

/** Where a volume is staged or published, and with which arguments. Holds no secrets. */
export interface Place {
  readonly path: string;
  /** A digest of the arguments: mount options may be sensitive. */
  readonly arguments: string;
  /** A digest of the volume capability. */
  readonly capability: string;
  /** Access mode of the capability. */
  readonly mode: number;
}

interface PlacedRequest {
  readonly volumeCapability: VolumeCapability | undefined;
  readonly publishContext: Record<string, string>;
  readonly readonly?: boolean;
}

/** The place that a NodeStageVolume or NodePublishVolume asks for. */
export function placeOf(path: string, request: PlacedRequest): Place {
  const { volumeCapability, publishContext, readonly } = request;
  return {
    path,
    arguments: digestOf([volumeCapability, publishContext, readonly ?? false]),
    capability: digestOf(volumeCapability),
    mode: volumeCapability?.accessMode?.mode ?? Mode.UNKNOWN,
  };
}

function digestOf(value: unknown): string {
  const text = JSON.stringify(value, (_, part: unknown) => (isPlain(part) ? sorted(part) : part));
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function sorted(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const MANY_TARGETS: readonly number[] = [
  Mode.MULTI_NODE_READER_ONLY,
  Mode.MULTI_NODE_SINGLE_WRITER,
  Mode.MULTI_NODE_MULTI_WRITER,
  Mode.SINGLE_NODE_MULTI_WRITER,
];

/**
 * Whether a volume may be staged once more: `same` when it is, already. Fails with
 * ALREADY_EXISTS when it is staged there with another capability, and with
 * FAILED_PRECONDITION when it is staged elsewhere: it has one staging path on a node.
 */
export function checkStaging(staged: Place | undefined, wanted: Place): 'same' | 'new' {
  if (staged === undefined) return 'new';
  if (staged.path !== wanted.path) {
    throw refused('FAILED_PRECONDITION', 'stage', `it is staged at "${staged.path}"`);
  }
  if (staged.capability === wanted.capability) return 'same';
  throw refused('ALREADY_EXISTS', 'stage', 'it is staged there with another capability');
}

/**
 * Whether a volume may be published once more, by the table of "NodePublishVolume": `same`
 * when it is, already. Fails with ALREADY_EXISTS when it is published there with other
 * arguments, and with FAILED_PRECONDITION when it is elsewhere and its mode allows one place.
 */
export function checkPublishing(published: readonly Place[], wanted: Place): 'same' | 'new' {
  const there = published.find(({ path }) => path === wanted.path);
  if (there !== undefined) {
    if (there.arguments === wanted.arguments) return 'same';
    throw refused('ALREADY_EXISTS', 'publish', 'it is published there with other arguments');
  }
  const other = published[0];
  if (other === undefined || MANY_TARGETS.includes(wanted.mode)) return 'new';
  const reason = `it is published at "${other.path}", and its access mode allows one place`;
  throw refused('FAILED_PRECONDITION', 'publish', reason);
}

function refused(
  code: 'ALREADY_EXISTS' | 'FAILED_PRECONDITION',
  verb: string,
  reason: string,
): KeelsonError {
  return new KeelsonError(code, `Cannot ${verb} the volume`, { reason });
}
