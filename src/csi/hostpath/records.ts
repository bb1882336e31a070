import { z } from 'zod';
import { FILE_SYSTEMS } from '../../linux/index.ts';

/** What a volume is made of. */
const kind = z.enum(['directory', 'filesystem', 'block']);
export type Kind = z.infer<typeof kind>;

/** Bytes as decimal digits: JSON has no integers of 64 bits. */
const bytes = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform((text) => BigInt(text));

const source = z.union([
  z.strictObject({ snapshotId: z.string() }),
  z.strictObject({ volumeId: z.string() }),
]);
export type Source = z.infer<typeof source>;

const content = {
  kind,
  /** Only with kind `filesystem`. */
  fsType: z.enum(FILE_SYSTEMS).optional(),
};

const volumeRecord = z.strictObject({
  version: z.literal(1),
  id: z.string(),
  name: z.string(),
  ...content,
  capacityBytes: bytes,
  /** Whether its space is set aside. */
  thick: z.boolean(),
  parameters: z.record(z.string(), z.string()),
  source: source.optional(),
  /** Made by NodePublishVolume, and removed by NodeUnpublishVolume. */
  ephemeral: z.boolean(),
  createdAt: z.string(),
});
export type VolumeRecord = z.infer<typeof volumeRecord>;

const snapshotRecord = z.strictObject({
  version: z.literal(1),
  id: z.string(),
  name: z.string(),
  ...content,
  sizeBytes: bytes,
  sourceVolumeId: z.string(),
  createdAt: z.string(),
});
export type SnapshotRecord = z.infer<typeof snapshotRecord>;

const place = z.strictObject({
  path: z.string(),
  arguments: z.string(),
  capability: z.string(),
  mode: z.number(),
});

/** What is done with a volume on this node. Dies with the boot: the mount table decides. */
const nodeRecord = z.strictObject({
  volumeId: z.string(),
  staged: place.optional(),
  published: z.array(place),
});
export type NodeRecord = z.infer<typeof nodeRecord>;

export const parseVolume = (text: string): VolumeRecord => volumeRecord.parse(JSON.parse(text));
export const parseSnapshot = (text: string): SnapshotRecord =>
  snapshotRecord.parse(JSON.parse(text));
export const parseNode = (text: string): NodeRecord => nodeRecord.parse(JSON.parse(text));

/** A record as it stands in its file. */
export function formatRecord(record: object): string {
  const text = (_: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value);
  return `${JSON.stringify(record, text, 2)}\n`;
}
