export * from './host.ts';
export * from './node/index.ts';
export * from './objects/index.ts';
export * from './overview.ts';
export * from './pod-volumes.ts';
export * from './registration/index.ts';
