import type { RegistryClient } from '../registry/index.ts';
import type { ImageRecords, StoredImage } from './image-records.ts';

/**
 * Finds the image that a text means: by id, else by name, else by the beginning of an id.
 * A name without a registry is looked for under what a pull of it would try, in that order.
 */
export async function findImage(
  nameOrId: string,
  { records, client }: { records: ImageRecords; client: RegistryClient },
): Promise<StoredImage | undefined> {
  const exact = records.findById(nameOrId);
  if (exact !== undefined) return exact;
  for (const reference of await client.localCandidates(nameOrId)) {
    const image = records.findByName(reference);
    if (image !== undefined) return image;
  }
  return records.findByPrefix(nameOrId);
}
