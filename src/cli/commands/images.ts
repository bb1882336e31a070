import type { Command } from 'commander';
import { type Image, ListImagesResponse } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { humanSize, truncatedId } from '../human.ts';
import { listImages } from '../lists.ts';
import { type Format, outputOption, print, printData, table } from '../output.ts';
import { protoJson } from '../proto-json.ts';

interface Options {
  quiet?: boolean;
  digests?: boolean;
  pinned?: boolean;
  /** Unless --no-trunc. */
  trunc?: boolean;
  output: Format;
}

const NONE = '<none>';

/** `keelson images`: lists images. */
export function configure(command: Command, context: Context): void {
  command
    .argument('[image]', 'only this repository, tag or digest')
    .option('-q, --quiet', 'only the ids')
    .option('--digests', 'show digests')
    .option('--pinned', 'show which are never collected as garbage')
    .option('--no-trunc', 'whole ids');
  outputOption(command, 'table').action(async (reference: string | undefined, options: Options) => {
    const images = await listImages(await context.cri(), reference);
    if (options.quiet) return print(context.stdout, images.map(({ id }) => `${id}\n`).join(''));
    if (options.output !== 'table') {
      return printData(context.stdout, options.output, protoJson(ListImagesResponse, { images }));
    }
    return print(context.stdout, imageTable(images, options));
  });
}

function imageTable(images: readonly Image[], options: Options): string {
  const row = (...[name, tag, digest, id, size, pinned]: [string, ...string[]]) => [
    name,
    tag ?? '',
    ...(options.digests ? [digest ?? ''] : []),
    id ?? '',
    size ?? '',
    ...(options.pinned ? [pinned ?? ''] : []),
  ];
  const rows = images.flatMap((image) => {
    const short = (id: string) => ((options.trunc ?? true) ? truncatedId(id) : id);
    const [repository, digest] = splitDigest(image.repoDigests[0]);
    return nameAndTag(image.repoTags, repository).map(([name, tag]) =>
      row(
        name,
        tag,
        digest === NONE ? NONE : short(digest),
        short(image.id),
        humanSize(image.size, 3),
        String(image.pinned),
      ),
    );
  });
  return table([row('IMAGE', 'TAG', 'DIGEST', 'IMAGE ID', 'SIZE', 'PINNED'), ...rows]);
}

function splitDigest(reference: string | undefined): [repository: string, digest: string] {
  const at = reference?.indexOf('@') ?? -1;
  return reference === undefined || at < 0
    ? [NONE, NONE]
    : [reference.slice(0, at), reference.slice(at + 1)];
}

function nameAndTag(tags: readonly string[], repository: string): [name: string, tag: string][] {
  if (tags.length === 0) return [[repository, NONE]];
  return tags.map((reference) => {
    const colon = reference.lastIndexOf(':');
    return colon > reference.lastIndexOf('/')
      ? [reference.slice(0, colon), reference.slice(colon + 1)]
      : [reference, NONE];
  });
}
