import type { RootLogger } from '../base/index.ts';
import type { CsiHost } from '../csi/index.ts';
import type { ImageStore } from '../oci/images/index.ts';
import type { Endpoint } from './exchange.ts';
import { explainImage } from './explain-image.ts';
import { loadImages } from './load-images.ts';
import { answerLogLevel, setLogLevel } from './log-level.ts';
import type { Metrics } from './metrics.ts';
import { pruneImages } from './prune-images.ts';
import { streamPulls } from './pulls.ts';
import { saveImages } from './save-images.ts';
import type { SpanRing } from './span-ring.ts';
import { streamSpans } from './spans.ts';
import { volumeEndpoints } from './volumes.ts';

export interface EndpointParts {
  logger: RootLogger;
  images: ImageStore;
  metrics: Metrics;
  spans: SpanRing;
  /** Undefined where volumes are switched off. */
  csi: CsiHost | undefined;
}

/** All that can be asked for. */
export function endpointsOf({ logger, images, metrics, spans, csi }: EndpointParts): Endpoint[] {
  return [
    ...volumeEndpoints(csi),
    { method: 'GET', path: '/metrics', handle: (exchange) => metrics.answer(exchange) },
    { method: 'GET', path: '/pulls', handle: (exchange) => streamPulls(images, exchange) },
    { method: 'GET', path: '/spans', handle: (exchange) => streamSpans(spans, exchange) },
    {
      ...{ method: 'GET', path: '/images/explain', socketOnly: true },
      handle: (exchange) => explainImage(images, exchange),
    },
    {
      ...{ method: 'GET', path: '/images/save', socketOnly: true },
      handle: (exchange) => saveImages(images, exchange),
    },
    {
      ...{ method: 'POST', path: '/images/load', socketOnly: true },
      handle: (exchange) => loadImages(images, exchange),
    },
    {
      ...{ method: 'POST', path: '/images/prune', socketOnly: true },
      handle: (exchange) => pruneImages(images, exchange),
    },
    {
      ...{ method: 'GET', path: '/log-level' },
      handle: (exchange) => answerLogLevel(logger, exchange),
    },
    {
      ...{ method: 'PUT', path: '/log-level', socketOnly: true },
      handle: (exchange) => setLogLevel(logger, exchange),
    },
  ];
}
