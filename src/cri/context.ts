import type { Logger } from '../base/index.ts';
import type { ImageStore } from '../oci/images/index.ts';
import type { Pods, Statistics } from '../pods/index.ts';
import type { StreamingServer } from '../streaming/index.ts';

/** What the handlers work with. Built once, by the composition root. */
export interface CriContext {
  readonly logger: Logger;
  readonly pods: Pods;
  readonly statistics: Statistics;
  readonly images: ImageStore;
  readonly streaming: StreamingServer;
  /** Keelson's own version. */
  readonly version: string;
  /** The configuration in effect, for verbose Status; without secrets. */
  readonly configuration: object;
  /** What is known of NRI plugins, for verbose Status; undefined where NRI is switched off. */
  readonly nri: (() => object) | undefined;
  /** Gives pods addresses from these ranges, where no CNI configuration says otherwise. */
  setPodCidrs(cidrs: readonly string[]): Promise<void>;
}

/** One call, as its handler sees it. */
export interface CallInfo {
  /** Aborts when the client gives up, its deadline is over, or the daemon must stop. */
  readonly signal: AbortSignal;
}

export type UnaryHandler<Request, Response> = (
  context: CriContext,
  request: Request,
  call: CallInfo,
) => Promise<Response> | Response;
