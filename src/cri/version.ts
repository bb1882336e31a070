import type { VersionRequest, VersionResponse } from '../gen/runtime/v1/api.ts';
import type { UnaryHandler } from './context.ts';

/** The kubelet's own API version, as it wants it echoed. */
const KUBELET_API_VERSION = '0.1.0';

export const version: UnaryHandler<VersionRequest, VersionResponse> = (context) => ({
  version: KUBELET_API_VERSION,
  runtimeName: 'keelson',
  runtimeVersion: context.version,
  runtimeApiVersion: 'v1',
});
