// What threads need that only unpack layers: without the rest of this folder they start a
// sixth faster. For the same reason they import base/errors.ts alone.
export * from './ffi.ts';
export * from './inodes.ts';
export * from './isal-gunzip.ts';
