import { KeelsonError } from '../base/index.ts';
import type { ImageStore } from '../oci/images/index.ts';
import { answerJson } from './answers.ts';
import type { Exchange } from './exchange.ts';

/** Bytes of an archive: what the image store takes of one unpacked. */
const LIMIT = 64 * 1024 ** 3;

/** Loads the images of the archive in the body. Answers them, with their names. */
export async function loadImages(images: ImageStore, exchange: Exchange): Promise<void> {
  const { request, response, signal } = exchange;
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > LIMIT) throw tooLarge(LIMIT);
  // Left early, the request must stay open: its answer takes the same way.
  const body = request.iterator({ destroyOnReturn: false });
  const loaded = await images.load(bounded(body, LIMIT), { signal });
  answerJson(
    response,
    loaded.map(({ id, repoTags, repoDigests, size }) => ({ id, repoTags, repoDigests, size })),
  );
}

/** Hands pieces on until there are more than `limit` bytes. */
export async function* bounded(
  pieces: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  for await (const piece of pieces) {
    received += piece.length;
    if (received > limit) throw tooLarge(limit);
    yield piece;
  }
}

function tooLarge(limit: number): KeelsonError {
  return new KeelsonError('RESOURCE_EXHAUSTED', 'Cannot load image archive', {
    reason: `it has more than ${limit} bytes`,
  });
}
