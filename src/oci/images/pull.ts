import { createHash } from 'node:crypto';
import {
  codeOf,
  during,
  Flights,
  faultPoint,
  KeelsonError,
  type Logger,
  messageOf,
  Semaphore,
  span,
} from '../../base/index.ts';
import type { Credentials, RegistryClient, Repository, ServedManifest } from '../registry/index.ts';
import { formatReference, type Platform, type Reference } from '../spec/index.ts';
import type { BlobStore } from './blob-store.ts';
import {
  describeImage,
  type ForeignLayers,
  type ImageDescription,
  type ImageSource,
} from './image-description.ts';
import { type ImageNames, namesOf, withNames } from './image-names.ts';
import type { ImageReader } from './image-record.ts';
import type { ImageRecords, StoredImage } from './image-records.ts';
import type { LayerFetcher } from './layer-fetcher.ts';
import type { LayerRecord, LayerStore } from './layer-store.ts';
import { type ProgressListener, ProgressReport, type PullProgress } from './pull-progress.ts';
import { together } from './together.ts';

export interface PullerOptions {
  client: RegistryClient;
  records: ImageRecords;
  reader: ImageReader;
  layers: LayerStore;
  blobs: BlobStore;
  fetcher: LayerFetcher;
  logger: Logger;
  platform: Platform;
  foreignLayers: ForeignLayers;
  /** Layers of one image that download at the same time. */
  parallelLayers: number;
}

export interface PullOptions {
  credentials?: Credentials;
  signal: AbortSignal;
  onProgress?: ProgressListener;
}

/** Brings images here. Many may ask for the same one: it is fetched once. */
export class Puller {
  readonly #options: PullerOptions;
  readonly #flights = new Flights<string>();
  readonly #reports = new Map<string, ProgressReport>();
  #pulls = 0;

  constructor(options: PullerOptions) {
    this.#options = options;
  }

  /** Answers the id of the image. */
  async pull(name: string, options: PullOptions): Promise<string> {
    const key = `${name} ${fingerprint(options.credentials)}`;
    const report = this.#reports.get(key) ?? new ProgressReport(name);
    this.#reports.set(key, report);
    using _listening = options.onProgress && report.listen(options.onProgress);
    try {
      return await this.#flights.join(key, options.signal, (signal) =>
        span('image.pull', { image: name }, () =>
          this.#pull(name, options.credentials, report, signal),
        ).finally(() => {
          if (this.#reports.get(key) === report) this.#reports.delete(key);
        }),
      );
    } catch (error) {
      throw explain(name, error);
    }
  }

  /** The pulls that are under way. */
  get underWay(): PullProgress[] {
    return [...this.#reports.values()].map((report) => report.current);
  }

  /** Resolves when no pull is under way. */
  async landed(): Promise<void> {
    await this.#flights.landed();
    await this.#options.fetcher.landed();
  }

  /** Gives an image that is here one more tag. */
  async addTag(id: string, tag: string): Promise<void> {
    await this.#addNames(id, { tag, digest: undefined });
  }

  /** Fetches what an image consists of, and commits it under the names given. */
  async assemble(
    served: ServedManifest,
    source: ImageSource,
    options: { names: ImageNames; report?: ProgressReport; signal: AbortSignal },
  ): Promise<string> {
    const { platform, foreignLayers, blobs, layers, fetcher, logger } = this.#options;
    const image = await describeImage(served, {
      source,
      platform,
      foreignLayers,
      signal: options.signal,
      onLayers: (count) => fetcher.prepare(count),
    });
    for (const digest of image.skipped) {
      logger.warn({ image: image.id, digest }, `made without foreign layer "${digest}"`);
    }
    const owner = `pull ${++this.#pulls}`;
    using _held = blobs.hold([
      image.manifest.digest,
      image.config.digest,
      ...image.layers.map(({ descriptor }) => descriptor.digest),
    ]);
    try {
      const documents = [image.config, image.manifest];
      const records = await together(
        options.signal,
        () => Promise.all(documents.map(({ digest, content }) => blobs.write(digest, content))),
        (signal) => this.#fetchLayers(image, source, { ...options, owner, signal }),
      );
      faultPoint('pull/blobs written');
      await this.#commit(image, records, options.names);
      faultPoint('pull/image committed');
      return image.id;
    } finally {
      layers.release(owner);
    }
  }

  async #pull(
    name: string,
    credentials: Credentials | undefined,
    report: ProgressReport,
    signal: AbortSignal,
  ): Promise<string> {
    const { client, logger } = this.#options;
    const candidates = await client.candidates(name);
    const failures: string[] = [];
    for (const [index, reference] of candidates.entries()) {
      try {
        const repository = await client.open(reference, credentials);
        const id = await this.#pullFrom(repository, reference, report, signal);
        report.done();
        return id;
      } catch (error) {
        signal.throwIfAborted();
        if (index === candidates.length - 1) throw withEarlier(error, failures);
        failures.push(`"${formatReference(reference)}": ${messageOf(error)}`);
        logger.debug({ image: name, error }, failures.at(-1) ?? '');
      }
    }
    throw new KeelsonError('NOT_FOUND', `Cannot find "${name}"`, {
      reason: 'no registry to search',
    });
  }

  async #pullFrom(
    repository: Repository,
    reference: Reference,
    report: ProgressReport,
    signal: AbortSignal,
  ): Promise<string> {
    const wanted = reference.digest ?? reference.tag ?? 'latest';
    const known = this.#options.records.findByName(reference);
    // Workers take as long to start as a registry to answer.
    if (known === undefined) this.#options.fetcher.prepare(2);
    // A tag that is known is asked about with HEAD, which costs registries and limits less.
    const mayBeHere = reference.digest !== undefined || known !== undefined;
    const digest = mayBeHere ? await repository.resolve(wanted, signal) : undefined;
    const same = digest === undefined ? undefined : await this.#rename(digest, reference);
    if (same !== undefined) return same;
    const served = await repository.manifest(wanted, signal);
    const renamed = await this.#rename(served.digest, reference);
    if (renamed !== undefined) return renamed;
    const names = namesOf(reference, served.digest);
    return this.assemble(served, repository, { names, report, signal });
  }

  /** Gives an image that is here already another name. */
  async #rename(digest: string, reference: Reference): Promise<string | undefined> {
    const { records } = this.#options;
    const image = records.findByDigest(digest);
    if (image === undefined) return undefined;
    const there = await this.#addNames(image.id, namesOf(reference, digest));
    return there ? image.id : undefined;
  }

  /** False if the image was removed meanwhile. */
  #addNames(id: string, names: ImageNames): Promise<boolean> {
    return this.#options.records.change(id, (now) => now && withNames(now, names));
  }

  async #fetchLayers(
    image: ImageDescription,
    source: ImageSource,
    { owner, report, signal }: { owner: string; report?: ProgressReport; signal: AbortSignal },
  ): Promise<LayerRecord[]> {
    const { fetcher } = this.#options;
    report?.fetching(() => image.layers.map((layer) => fetcher.progressOf(layer)));
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    const lane = new Semaphore(this.#options.parallelLayers);
    const fetching: Promise<LayerRecord>[] = [];
    // The disk is behind: a layer is completed with those below it before they are on it.
    const complete: Promise<LayerRecord>[] = [];
    for (const [index, layer] of image.layers.entries()) {
      const { promise, resolve: onComplete, reject } = Promise.withResolvers<LayerRecord>();
      const below = () => Promise.all(complete.slice(0, index));
      const record = fetcher.ensure({ ...layer, source, owner, lane, below, onComplete }, both);
      record.then(onComplete, reject);
      record.catch((error: unknown) => stop.abort(error));
      // The record fails with the same error, and is waited for.
      promise.catch(() => {});
      fetching.push(record);
      complete.push(promise);
    }
    // What was aborted for another's failure is waited for, and fails with the same reason.
    await Promise.allSettled(fetching);
    signal.throwIfAborted();
    if (stop.signal.aborted) throw stop.signal.reason;
    return Promise.all(fetching);
  }

  async #commit(image: ImageDescription, layers: LayerRecord[], names: ImageNames): Promise<void> {
    const { records, reader } = this.#options;
    await records.change(image.id, async (old) => {
      // The same configuration under another manifest, which has it without some layers.
      if (old !== undefined && old.layers.length > layers.length) return withNames(old, names);
      const stored: StoredImage = {
        version: 1,
        kind: image.kind,
        id: image.id,
        manifest: image.manifest.digest,
        config: image.config.digest,
        tags: old?.tags ?? [],
        digests: old?.digests ?? [],
        layers: image.layers.map(({ descriptor, diffId }, index) => ({
          id: layers[index]?.id ?? '',
          diffId,
          digest: descriptor.digest,
          size: descriptor.size,
        })),
        since: old?.since ?? Date.now(),
      };
      await reader.load(stored);
      return withNames(stored, names);
    });
  }
}

/** Tells callers with other credentials apart: one must not get what another may read. */
function fingerprint(credentials: Credentials | undefined): string {
  return createHash('sha256')
    .update(JSON.stringify(credentials ?? {}))
    .digest('hex');
}

/** The failure of the last registry that a short name was looked for at, with the others named. */
function withEarlier(error: unknown, failures: readonly string[]): unknown {
  if (failures.length === 0) return error;
  return new KeelsonError(codeOf(error), messageOf(error), {
    reason: `before that ${failures.join('; ')}`,
    cause: error,
  });
}

/** A kubelet knows by the first word that the registry, and not the image, is the trouble. */
function explain(name: string, error: unknown): KeelsonError {
  const action = `annot pull image ${JSON.stringify(name.slice(0, 300))}`;
  return codeOf(error) === 'UNAVAILABLE'
    ? during(`RegistryUnavailable: c${action}`, error)
    : during(`C${action}`, error);
}
