export * from './node-controller.ts';
export type * from './node-parts.ts';
export * from './node-volumes.ts';
export * from './paths.ts';
export * from './recover.ts';
export type * from './requests.ts';
export * from './stats.ts';
