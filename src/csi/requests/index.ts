export * from './capability.ts';
export * from './parameters.ts';
export * from './secret-reader.ts';
export * from './topology.ts';
