import { raw } from './ffi.ts';

/**
 * Gives the kernel back what is free in the heaps of V8, if it lets itself be asked
 * (`--expose-gc`), and of the C library. Takes some 100 ms, in which nothing else happens.
 */
export function releaseMemory(): void {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  releaseFreed();
}

/** Gives the kernel back what the C library keeps of freed memory. Takes a few milliseconds. */
export function releaseFreed(): void {
  raw.mallocTrim(0);
}
