import { isIP } from 'node:net';
import type {
  UpdateRuntimeConfigRequest,
  UpdateRuntimeConfigResponse,
} from '../gen/runtime/v1/api.ts';
import type { UnaryHandler } from './context.ts';
import { invalid } from './invalid.ts';

/** The node's pod CIDRs, separated by commas. Only the embedded default network uses them. */
export const updateRuntimeConfig: UnaryHandler<
  UpdateRuntimeConfigRequest,
  UpdateRuntimeConfigResponse
> = async (context, request) => {
  const text = request.runtimeConfig?.networkConfig?.podCidr ?? '';
  const cidrs = text.split(',').filter(Boolean);
  for (const cidr of cidrs) {
    const [address = '', prefix = ''] = cidr.split('/');
    const bits = { 4: 32, 6: 128 }[isIP(address)] ?? 0;
    if (!/^\d+$/.test(prefix) || Number(prefix) > bits || bits === 0) {
      throw invalid('runtime_config.network_config.pod_cidr', `"${cidr}" is not a CIDR`);
    }
  }
  if (cidrs.length > 0) await context.setPodCidrs(cidrs);
  return {};
};
