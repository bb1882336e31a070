import { errnoOf } from '../../base/index.ts';
import { NetworkNamespace } from '../../linux/index.ts';
import { CNI_ERROR, CniError, type PluginCall } from '../spec/index.ts';

/** The container's network namespace. */
export function openPod(call: PluginCall): NetworkNamespace {
  try {
    return NetworkNamespace.open(call.netns);
  } catch (cause) {
    throw new CniError(CNI_ERROR.INVALID_NETNS, `Cannot open network namespace "${call.netns}"`, {
      cause,
    });
  }
}

/**
 * The container's network namespace for DEL: undefined when it is gone, with all links
 * that were in it. A file that is no namespace is what a namespace that was unmounted
 * leaves.
 */
export function openPodIfExists(call: PluginCall): NetworkNamespace | undefined {
  if (call.netns === '') return undefined;
  try {
    return NetworkNamespace.open(call.netns);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EINVAL'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
