import type { Command } from 'commander';
import { Image } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { humanSize } from '../human.ts';
import { inspectAction } from '../inspect.ts';
import { protoJson } from '../proto-json.ts';
import { imageStatus } from '../status.ts';

/** `keelson inspecti`: all about images. */
export function configure(command: Command, context: Context): void {
  command.argument('<image...>', 'names, digests or ids');
  inspectAction<Awaited<ReturnType<typeof imageStatus>>, unknown>(command, context, {
    ask: imageStatus,
    data: ({ image, info }) => ({ status: protoJson(Image, image), info }),
    details: ({ image }) => [
      ['ID', image.id],
      ...image.repoTags.map((tag) => ['Tag', tag] as const),
      ...image.repoDigests.map((digest) => ['Digest', digest] as const),
      ['Size', humanSize(image.size, 3)],
    ],
  });
}
