import { type Attributes, redactedJson, type Span, span } from '../../base/index.ts';
import type { CniResult, PluginCall } from '../spec/index.ts';

/** Calls a plugin in a span that tells what it was given and what it answered. */
export function callInSpan(
  { type, program }: { type: string; program: string },
  call: PluginCall,
  work: () => Promise<CniResult | undefined>,
): Promise<CniResult | undefined> {
  const attributes = { ...attributesOf(type, call), program };
  return span(`cni.${call.command}`, attributes, async (self: Span) => {
    const result = await work();
    if (result !== undefined) self.set({ result: redactedJson(result) });
    return result;
  });
}

function attributesOf(type: string, call: PluginCall): Attributes {
  const { containerId, ifname, config } = call;
  return {
    plugin: type,
    network: config.name,
    ...(containerId === '' ? {} : { containerId, ifname, netns: call.netns }),
    input: redactedJson(config),
  };
}
