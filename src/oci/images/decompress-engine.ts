import { KeelsonError } from '../../base/errors.ts';

/** What decompresses one stream, in the thread pool, while the receiver of output works. */
export interface DecompressEngine {
  /** Resolves when `chunk` may be overwritten, to the bytes of it that lie behind the end. */
  write(chunk: Buffer): Promise<number>;
  /** Resolves when all output has been handed over. */
  end(): Promise<void>;
  /** Frees memory, after a failure. */
  abandon(): void;
}

/** Is given the output in pieces, each of which is its own only until it returns. */
export type OnOutput = (chunk: Buffer) => void;

export function badCompression(cause: unknown): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', 'Cannot decompress layer', { cause });
}
