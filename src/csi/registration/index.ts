export * from './driver.ts';
export * from './drivers.ts';
export * from './plugin-registry.ts';
export * from './registrar.ts';
