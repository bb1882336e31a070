export * from './backend.ts';
export { DEFAULT_LIMITS, type StreamingLimits } from './limits.ts';
export { StreamingServer, type StreamingServerOptions } from './server.ts';
