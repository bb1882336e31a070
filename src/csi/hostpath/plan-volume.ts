import { KeelsonError } from '../../base/index.ts';
import type { CapacityRange, CreateVolumeRequest, VolumeCapability } from '../../gen/csi/v1/csi.ts';
import {
  availableFileSystems,
  FILE_SYSTEMS,
  type FileSystemType,
  smallestFileSystem,
} from '../../linux/index.ts';
import type { Kind, SnapshotRecord, Source, VolumeRecord } from './records.ts';

/** Bytes of a volume that nobody gave a size. */
const USUAL_SIZE = 1n << 30n;
/** Images have whole blocks. */
const BLOCK = 4096n;

export interface Content {
  readonly kind: Kind;
  readonly fsType?: FileSystemType | undefined;
}

/** Parameters that a StorageClass may have. Those of the provisioner itself are none of ours. */
const PARAMETERS = new Set(['type', 'provisioning']);
const FOREIGN = 'csi.storage.k8s.io/';

/**
 * Whether space is set aside. Fails with INVALID_ARGUMENT for parameters that this driver
 * does not know. `type` is a label: the driver keeps it, and it means nothing.
 */
export function readParameters(parameters: Readonly<Record<string, string>>): { thick: boolean } {
  for (const key of Object.keys(parameters)) {
    if (PARAMETERS.has(key) || key.startsWith(FOREIGN)) continue;
    throw wrong(`parameter "${key}" is unknown; known are ${[...PARAMETERS].join(', ')}`);
  }
  const { provisioning = 'thin' } = parameters;
  if (provisioning !== 'thin' && provisioning !== 'thick') {
    throw wrong(`provisioning is "${provisioning}", and may be thin or thick`);
  }
  return { thick: provisioning === 'thick' };
}

/** What a volume must be to satisfy all capabilities. Fails with INVALID_ARGUMENT if nothing does. */
export function contentFor(capabilities: readonly VolumeCapability[]): Content {
  const [first, ...others] = capabilities.map(contentOf);
  if (first === undefined) throw wrong('no capability is given');
  const other = others.find(({ kind, fsType }) => kind !== first.kind || fsType !== first.fsType);
  if (other !== undefined) {
    throw wrong(`one volume cannot be ${describe(first)} and ${describe(other)}`);
  }
  return first;
}

function contentOf({ accessType }: VolumeCapability): Content {
  if (accessType?.$case === 'block') return { kind: 'block' };
  const fsType = accessType?.value.fsType ?? '';
  if (fsType === '') return { kind: 'directory' };
  const known = FILE_SYSTEMS.find((type) => type === fsType);
  if (known === undefined) {
    throw wrong(
      `fs_type "${fsType}" is none of ${FILE_SYSTEMS.join(', ')}, or empty for a directory`,
    );
  }
  return { kind: 'filesystem', fsType: known };
}

/** Fails with FAILED_PRECONDITION where this host lacks the programs of a file system. */
export function checkPrograms({ fsType }: Content): void {
  if (fsType === undefined || availableFileSystems().includes(fsType)) return;
  throw new KeelsonError('FAILED_PRECONDITION', `Cannot make a volume with ${fsType}`, {
    reason: `there is no mkfs.${fsType}`,
    hint: fsType === 'ext4' ? 'install e2fsprogs' : 'install xfsprogs',
  });
}

/** Why a volume cannot be used in a way, or undefined. */
export function capabilityProblem(
  volume: Content,
  capability: VolumeCapability | undefined,
): string | undefined {
  if (capability === undefined) return undefined;
  const { accessType } = capability;
  const wanted = accessType?.$case === 'block' ? 'a block device' : 'a file system';
  if ((accessType?.$case === 'block') !== (volume.kind === 'block')) {
    return `the volume is ${describe(volume)}, not ${wanted}`;
  }
  const fsType = accessType?.$case === 'mount' ? accessType.value.fsType : '';
  // An empty one is whatever the volume has.
  if (fsType === '' || fsType === volume.fsType) return undefined;
  return `the volume is ${describe(volume)}, not ${fsType}`;
}

export function describe({ kind, fsType }: Content): string {
  if (kind === 'block') return 'a block device';
  return kind === 'directory' ? 'a directory' : `a file system of type ${fsType}`;
}

/** The size for a range: OUT_OF_RANGE when none fits. `source` is the size of what it is made from. */
export function sizeFor(range: CapacityRange | undefined, content: Content, source = 0n): bigint {
  const { requiredBytes = 0n, limitBytes = 0n } = range ?? {};
  const smallest = content.fsType === undefined ? 1n : smallestFileSystem(content.fsType);
  const least = max(smallest, source, requiredBytes);
  const usual = requiredBytes > 0n || source > 0n ? least : max(least, USUAL_SIZE);
  const within = limitBytes > 0n && usual > limitBytes ? max(least, limitBytes) : usual;
  const size = content.kind === 'directory' ? within : roundUp(within, limitBytes);
  if (limitBytes === 0n || size <= limitBytes) return size;
  throw new KeelsonError('OUT_OF_RANGE', 'Cannot make a volume of that size', {
    reason: `${describe(content)} needs ${size} bytes here, and the limit is ${limitBytes}`,
  });
}

/** To whole blocks; down if up is beyond the limit, and that is what the limit itself was. */
function roundUp(size: bigint, limit: bigint): bigint {
  const up = ((size + BLOCK - 1n) / BLOCK) * BLOCK;
  const down = up - BLOCK;
  return limit > 0n && size === limit && up > limit && down > 0n ? down : up;
}

function max(...values: bigint[]): bigint {
  return values.reduce((a, b) => (a > b ? a : b));
}

/** Fails with ALREADY_EXISTS when a volume of the same name is not what is asked for now. */
export function checkSame(
  known: VolumeRecord,
  request: CreateVolumeRequest,
  wanted: { content: Content; source: Source | undefined },
): void {
  const { requiredBytes = 0n, limitBytes = 0n } = request.capacityRange ?? {};
  const { content, source } = wanted;
  const differences = [
    [known.capacityBytes < requiredBytes, `it has ${known.capacityBytes} bytes`],
    [limitBytes > 0n && known.capacityBytes > limitBytes, `it has ${known.capacityBytes} bytes`],
    [known.kind !== content.kind || known.fsType !== content.fsType, `it is ${describe(known)}`],
    [JSON.stringify(known.source) !== JSON.stringify(source), 'it was made from another source'],
    [!sameParameters(known.parameters, request.parameters), 'it has other parameters'],
  ] as const;
  const difference = differences.find(([differs]) => differs)?.[1];
  if (difference === undefined) return;
  throw new KeelsonError('ALREADY_EXISTS', `Volume "${known.name}" is there already`, {
    reason: difference,
  });
}

function sameParameters(a: Record<string, string>, b: Record<string, string>): boolean {
  const lines = (record: Record<string, string>) => JSON.stringify(Object.entries(record).sort());
  return lines(a) === lines(b);
}

/** Fails with INVALID_ARGUMENT when a volume cannot be made from a source of that content. */
export function checkSource(content: Content, source: VolumeRecord | SnapshotRecord): void {
  if (content.kind === source.kind && content.fsType === source.fsType) return;
  throw wrong(`the source is ${describe(source)}, and the volume is to be ${describe(content)}`);
}

function wrong(reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', 'Cannot make such a volume', { reason });
}
