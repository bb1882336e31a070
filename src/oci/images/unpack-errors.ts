import { codeOf, type ErrorCode, errnoOf, KeelsonError, messageOf } from '../../base/errors.ts';
import { type ByteString, quoteBytes } from './byte-path.ts';

/** An entry that no layer may hold. */
export function badEntry(name: ByteString, reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', `Cannot unpack entry ${quoteBytes(name)}`, {
    reason,
  });
}

/** A layer beyond the limits. */
export function tooLarge(reason: string): KeelsonError {
  return new KeelsonError('RESOURCE_EXHAUSTED', 'Cannot unpack layer', {
    reason,
    hint: 'images.max_layer_size and images.max_layer_entries of the configuration set the limits',
  });
}

/** Names that the kernel refuses are the archive's fault, a full disk is the machine's. */
const CODES: Record<string, ErrorCode> = {
  ENOSPC: 'RESOURCE_EXHAUSTED',
  EDQUOT: 'RESOURCE_EXHAUSTED',
  ENAMETOOLONG: 'INVALID_ARGUMENT',
  EINVAL: 'INVALID_ARGUMENT',
  ENOENT: 'INVALID_ARGUMENT',
  EFBIG: 'INVALID_ARGUMENT',
  EMLINK: 'INVALID_ARGUMENT',
  EPERM: 'PERMISSION_DENIED',
  EACCES: 'PERMISSION_DENIED',
};

/** What went wrong while an entry was written, with its name. */
export function explainEntry(name: ByteString, error: unknown): KeelsonError {
  if (error instanceof KeelsonError && error.message.startsWith('Cannot unpack')) return error;
  const errno = errnoOf(error);
  const code = (errno === undefined ? undefined : CODES[errno]) ?? codeOf(error);
  return new KeelsonError(code, `Cannot unpack entry ${quoteBytes(name)}`, {
    cause: error,
    reason: reasonOf(error, errno),
  });
}

function reasonOf(error: unknown, errno: string | undefined): string {
  if (errno === 'ENOSPC') return 'the disk is full';
  if (errno === 'EDQUOT') return 'the disk quota is used up';
  if (errno === 'ENAMETOOLONG') return 'its path is too long';
  return messageOf(error);
}
