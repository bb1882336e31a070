import { KeelsonError } from '../base/index.ts';
import type { ImageStore } from '../oci/images/index.ts';
import { answerJson } from './answers.ts';
import type { Exchange } from './exchange.ts';
import { registryAuth } from './registry-auth.ts';

/** Where a pull of `?reference=` would ask, in which order, as whom and why. */
export async function explainImage(images: ImageStore, exchange: Exchange): Promise<void> {
  const reference = exchange.query.get('reference');
  if (!reference) {
    throw new KeelsonError('INVALID_ARGUMENT', 'Cannot explain an image', {
      reason: 'the query has no "reference"',
    });
  }
  const { signal } = exchange;
  const endpoints = await images.explain(reference, { ...registryAuth(exchange), signal });
  answerJson(exchange.response, endpoints);
}
