export type { CriContext } from './context.ts';
export { CriServer, type ServerOptions } from './server.ts';
export { streamingBackend } from './streaming-backend.ts';
