export { TtrpcClient } from './client.ts';
export { MESSAGE_LIMIT } from './frames.ts';
export { Multiplexer } from './multiplexer.ts';
export { type Method, TtrpcServer } from './server.ts';
