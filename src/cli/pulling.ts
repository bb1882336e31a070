import {
  type AuthConfig,
  ImageServiceService,
  type PodSandboxConfig,
} from '../gen/runtime/v1/api.ts';
import { adminPullProgress } from './admin-client.ts';
import type { Context } from './context.ts';
import { imageSpec } from './lists.ts';
import { withPullProgress } from './pull-progress.ts';

export interface PullOptions {
  auth?: AuthConfig | undefined;
  /** The pod that the image is for, whose annotations may matter to the daemon. */
  sandboxConfig?: PodSandboxConfig;
  annotations?: Record<string, string>;
  /** Milliseconds. Default: as long as it takes; the daemon gives up on stalled registries. */
  timeout?: number;
}

/** Pulls an image, shows how it goes, and answers what CRI calls its image_ref. */
export async function pullImage(
  context: Context,
  reference: string,
  options: PullOptions = {},
): Promise<string> {
  const cri = await context.cri();
  const request = {
    image: { ...imageSpec(reference), annotations: options.annotations ?? {} },
    auth: options.auth,
    sandboxConfig: options.sandboxConfig,
  };
  const progress = context.pullProgress ?? (await adminPullProgress(cri));
  const { imageRef } = await withPullProgress(context.stderr, reference, progress, () =>
    cri.call(ImageServiceService.pullImage, request, {
      action: `Cannot pull image "${reference}"`,
      timeout: options.timeout ?? Number.POSITIVE_INFINITY,
    }),
  );
  return imageRef;
}
