import { KeelsonError } from '../base/index.ts';
import type { ImageStore } from '../oci/images/index.ts';
import { writeAll } from './answers.ts';
import type { Exchange } from './exchange.ts';
import { registryAuth } from './registry-auth.ts';

/**
 * Answers an archive of the images that each `?reference=` names, in `format=oci` (default)
 * or `docker`. What fails before the first byte is an error; later the connection breaks.
 */
export async function saveImages(images: ImageStore, exchange: Exchange): Promise<void> {
  const { query, response, signal } = exchange;
  const references = query.getAll('reference');
  if (references.length === 0 || references.includes('')) throw unusable('no "reference"');
  const format = query.get('format') ?? 'oci';
  if (format !== 'oci' && format !== 'docker') throw unusable(`the unknown format "${format}"`);
  const pieces = images.save(references, { ...registryAuth(exchange), format, signal });
  await writeAll(response, begun(pieces, exchange));
}

/** Layers may have to be fetched anew before the first byte: until then it can fail properly. */
async function* begun(
  pieces: AsyncIterable<Buffer>,
  { response }: Exchange,
): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'application/x-tar' });
    yield piece;
  }
}

function unusable(what: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', 'Cannot save images', {
    reason: `the query has ${what}`,
  });
}
