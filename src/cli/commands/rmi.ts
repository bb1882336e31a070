import type { Command } from 'commander';
import { codeOf } from '../../base/index.ts';
import { type Image, ImageServiceService } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import type { CriClient } from '../cri-client.ts';
import { usageError } from '../failures.ts';
import { imageSpec, listContainers, listImages } from '../lists.ts';
import { forEachId } from '../many.ts';
import { imageStatus } from '../status.ts';

interface Options {
  all?: boolean;
  prune?: boolean;
}

/** `keelson rmi`: removes images with all their names. */
export function configure(command: Command, context: Context): void {
  command
    .argument('[image...]', 'names, digests or ids')
    .option('-a, --all', 'all images')
    .option('--prune', 'all images that no container uses and that are not pinned')
    .action(async (given: string[], { all = false, prune = false }: Options) => {
      const ways = [given.length > 0, all, prune].filter(Boolean).length;
      if (ways !== 1) throw usageError('Name images, or use either --all or --prune');
      const cri = await context.cri();
      const images = all || prune ? await listImages(cri) : [];
      const chosen = prune ? await unused(cri, images) : images;
      const ids = given.length > 0 ? given : chosen.map(({ id }) => id);
      await forEachId(ids, context, (id) => remove(cri, id));
    });
}

async function remove(cri: CriClient, reference: string): Promise<string> {
  const { image } = await imageStatus(cri, reference);
  const action = `Cannot remove image "${reference}"`;
  await cri.call(ImageServiceService.removeImage, { image: imageSpec(reference) }, { action });
  const names = image.repoTags.length > 0 ? image.repoTags : image.repoDigests;
  return (names.length > 0 ? names : [image.id]).map((name) => `Deleted: ${name}\n`).join('');
}

async function unused(cri: CriClient, images: readonly Image[]): Promise<Image[]> {
  const containers = await listContainers(cri, { all: true });
  const references = new Set(
    containers.flatMap(({ image, imageRef, imageId }) => [image?.image ?? '', imageRef, imageId]),
  );
  references.delete('');
  const used = new Set<string>();
  for (const reference of references) used.add((await find(cri, reference)) ?? reference);
  return images.filter(({ id, pinned }) => !pinned && !used.has(id));
}

async function find(cri: CriClient, reference: string): Promise<string | undefined> {
  try {
    return (await imageStatus(cri, reference)).image.id;
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return undefined;
    throw error;
  }
}
