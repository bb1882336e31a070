export * from './client.ts';
export * from './csi-error.ts';
export * from './describe-driver.ts';
export * from './secrets.ts';
export { type CallOptions, SocketClient, type UnaryMethod } from './socket-client.ts';
