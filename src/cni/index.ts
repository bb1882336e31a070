export * from './engine/index.ts';
export * from './plugins/index.ts';
export * from './programs/index.ts';
export * from './spec/index.ts';
