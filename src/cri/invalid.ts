import { KeelsonError } from '../base/index.ts';

/** An INVALID_ARGUMENT error for a field of a request, named as in the proto. */
export function invalid(field: string, reason: string, hint?: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', `Invalid ${field}`, {
    reason,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Fails if a message or string that must be there is not. */
export function required<T>(field: string, value: T | undefined): T {
  if (value === undefined || value === '') throw invalid(field, 'it is missing');
  return value;
}

/** A 64-bit integer that must be exact as a JavaScript number. */
export function toNumber(field: string, value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw invalid(field, `${value} is out of range`);
  return number;
}

/** CRI's integers use 0 for "not given". */
export function nonZero(field: string, value: bigint): number | undefined {
  return value === 0n ? undefined : toNumber(field, value);
}

/** Text for a file or command line of its own: without line breaks and NUL bytes. */
export function plainText(field: string, value: string): string {
  if (/[\0\r\n]/.test(value)) throw invalid(field, `${JSON.stringify(value)} holds a line break`);
  return value;
}

/** A path or name that the kernel will take: without NUL bytes. */
export function noNul(field: string, value: string): string {
  if (value.includes('\0')) throw invalid(field, `${JSON.stringify(value)} holds a NUL byte`);
  return value;
}
