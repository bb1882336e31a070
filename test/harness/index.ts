export * from './client.ts';
export * from './daemon.ts';
export * from './leftovers.ts';
export * from './network.ts';
export * from './pods.ts';
export * from './privileges.ts';
export * from './programs.ts';
export * from './wait-for.ts';
