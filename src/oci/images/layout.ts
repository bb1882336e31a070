import { join } from 'node:path';
import { parseDigest } from '../spec/index.ts';

/**
 * Where things lie below the store's root:
 *
 *     l/ID/                       the files of a layer, an overlayfs lower directory
 *     images/layers/ID.json       its commit mark: a layer without one is not there
 *     images/records/HEX.json     an image: its names, manifest, configuration and layers
 *     images/blobs/ALG-HEX        manifests, configurations, and layers that are kept packed
 *     images/partial/ALG-HEX      the beginning of a blob that was not downloaded to its end
 *     images/aside/               records that could not be read, for a person to look at
 *     images/trash/               what is being deleted
 *     images/spool/               archives that are being loaded
 *     images/empty/               the lower directory of an image without layers
 *
 * `l/` has a short name because an overlay mount lists all its layers in 4096 bytes.
 */
export class Layout {
  readonly root: string;
  readonly layers: string;
  readonly marks: string;
  readonly records: string;
  readonly blobs: string;
  readonly partial: string;
  readonly aside: string;
  readonly trash: string;
  readonly spool: string;
  readonly empty: string;

  constructor(root: string) {
    this.root = root;
    this.layers = join(root, 'l');
    this.marks = join(root, 'images/layers');
    this.records = join(root, 'images/records');
    this.blobs = join(root, 'images/blobs');
    this.partial = join(root, 'images/partial');
    this.aside = join(root, 'images/aside');
    this.trash = join(root, 'images/trash');
    this.spool = join(root, 'images/spool');
    this.empty = join(root, 'images/empty');
  }

  get directories(): string[] {
    const { layers, marks, records, blobs, partial, aside, trash, spool, empty } = this;
    return [layers, marks, records, blobs, partial, aside, trash, spool, empty];
  }

  layer(id: string): string {
    return join(this.layers, id);
  }

  mark(id: string): string {
    return join(this.marks, `${id}.json`);
  }

  record(imageId: string): string {
    return join(this.records, `${parseDigest(imageId).hex}.json`);
  }

  blob(digest: string): string {
    return join(this.blobs, blobName(digest));
  }

  partialBlob(digest: string): string {
    return join(this.partial, blobName(digest));
  }
}

function blobName(digest: string): string {
  const { algorithm, hex } = parseDigest(digest);
  return `${algorithm}-${hex}`;
}

/** The digest that a blob's file name stands for; undefined for other files. */
export function digestOfBlobName(name: string): string | undefined {
  const [, algorithm, hex] = /^(sha256|sha512)-([0-9a-f]+)$/.exec(name) ?? [];
  return hex === undefined ? undefined : `${algorithm}:${hex}`;
}
