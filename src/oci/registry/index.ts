export * from './blob-download.ts';
export * from './client.ts';
export type { Credentials } from './credentials.ts';
export type { Endpoint } from './endpoint.ts';
export { Repository, type ServedManifest } from './repository.ts';
export { isPassing, StatusError } from './requests.ts';
