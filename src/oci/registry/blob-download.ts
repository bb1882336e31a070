import { KeelsonError, type Logger, messageOf } from '../../base/index.ts';
import type { Descriptor } from '../spec/index.ts';
import { paced, SlowTransfer } from './pace.ts';
import {
  connectionError,
  discard,
  isPassing,
  type RegistryResponse,
  type RequestParts,
  single,
  statusError,
  waitBefore,
} from './requests.ts';

/** Takes a blob's bytes in order. */
export interface BlobSink {
  /** Bytes that are there already. */
  readonly offset: number;
  /** Adds bytes. The chunk is the sink's from then on. A promise holds the transfer back. */
  write(chunk: Buffer): Promise<void> | undefined;
}

export interface BlobDownload {
  open: (parts: RequestParts) => Promise<RegistryResponse>;
  descriptor: Descriptor;
  sink: BlobSink;
  /** Failures in a row, without a new byte between or too few of them, after which it is given up. */
  attempts: number;
  backOff: number;
  signal: AbortSignal;
  logger: Logger;
}

/** Downloads what a sink lacks of a blob, by as many requests as it takes. */
export async function downloadBlob(download: BlobDownload): Promise<void> {
  const { descriptor, sink, attempts, signal, logger } = download;
  let failures = 0;
  while (sink.offset < descriptor.size) {
    const before = sink.offset;
    try {
      await transfer(download);
    } catch (error) {
      signal.throwIfAborted();
      const gotOn = sink.offset > before && !(error instanceof SlowTransfer);
      failures = gotOn ? 1 : failures + 1;
      if (failures >= attempts || !isPassing(error)) throw error;
      logger.debug(
        { digest: descriptor.digest, offset: sink.offset, error },
        `transfer broke off: ${messageOf(error)}; resuming`,
      );
      await waitBefore(failures, error, download);
    }
  }
}

/** One request, to the end of its body. */
async function transfer({ open, descriptor, sink, signal }: BlobDownload): Promise<void> {
  const { digest, size } = descriptor;
  const start = sink.offset;
  const response = await open({
    method: 'GET',
    path: `blobs/${digest}`,
    headers: {
      'accept-encoding': 'identity',
      ...(start > 0 ? { range: `bytes=${start}-` } : {}),
    },
    signal,
  });
  const skipped = await bytesToSkip(response, start, descriptor);
  await receive(response, { skipped, sink, size, digest });
  if (sink.offset < size) throw endedEarly(digest, sink.offset, size);
}

/** How much of the body is known already. Registries may ignore Range and send all. */
async function bytesToSkip(
  response: RegistryResponse,
  start: number,
  { digest, size }: Descriptor,
): Promise<number> {
  if (response.status !== 200 && response.status !== 206) throw await statusError(response);
  const [, first, total] =
    /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(single(response.headers['content-range']) ?? '') ?? [];
  const begins = response.status === 200 ? 0 : Number(first);
  const length = Number(single(response.headers['content-length']) ?? Number.NaN);
  const wrongTotal = total !== undefined && total !== '*' && Number(total) !== size;
  if (begins !== 0 && begins !== start) {
    discard(response);
    throw wrong(digest, `a range from ${first ?? 'an unknown place'} came, not from ${start}`);
  }
  if (wrongTotal || (!Number.isNaN(length) && begins + length > size)) {
    discard(response);
    throw wrong(digest, `${wrongTotal ? total : begins + length} bytes are announced, not ${size}`);
  }
  return begins === 0 ? start : 0;
}

async function receive(
  response: RegistryResponse,
  {
    skipped,
    sink,
    size,
    digest,
  }: { skipped: number; sink: BlobSink; size: number; digest: string },
): Promise<void> {
  let skip = skipped;
  let inSink = false;
  try {
    for await (const chunk of paced(response.body, response.stallTimeout)) {
      const fresh = skip === 0 ? chunk : chunk.subarray(Math.min(skip, chunk.length));
      skip -= Math.min(skip, chunk.length);
      if (fresh.length === 0) continue;
      if (sink.offset + fresh.length > size) throw wrong(digest, `more than ${size} bytes came`);
      inSink = true;
      await sink.write(fresh);
      inSink = false;
    }
  } catch (error) {
    throw inSink ? error : connectionError(error);
  } finally {
    discard(response);
  }
}

function wrong(digest: string, reason: string): KeelsonError {
  return new KeelsonError('DATA_LOSS', `Cannot trust blob "${digest}"`, { reason });
}

function endedEarly(digest: string, offset: number, size: number): KeelsonError {
  return new KeelsonError('UNAVAILABLE', `Cannot download blob "${digest}"`, {
    reason: `the transfer ended after ${offset} of ${size} bytes`,
  });
}
