export type * from './object-files.ts';
export * from './object-store.ts';
