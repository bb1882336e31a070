import type { ImageStore } from '../oci/images/index.ts';
import { answerJson } from './answers.ts';
import type { Exchange } from './exchange.ts';

/** Removes images without a tag, with `?all` all, that no container uses; and what is left over. */
export async function pruneImages(
  images: ImageStore,
  { query, response }: Exchange,
): Promise<void> {
  const value = query.get('all');
  const all = value !== null && value !== 'false' && value !== '0';
  answerJson(response, await images.prune({ all }));
}
