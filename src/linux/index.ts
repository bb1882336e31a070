export * from './ffi.ts';
export * from './inodes.ts';
export * from './interfaces.ts';
export * from './mounts.ts';
export * from './namespaces.ts';
export * from './processes.ts';
export * from './run.ts';
