import type { Attributes } from '../base/index.ts';
import type { ContainerRecord, SandboxRecord } from '../pods/index.ts';
import type { CriContext } from './context.ts';

interface Metadata {
  name?: string;
  namespace?: string;
  uid?: string;
}

/** The fields by which requests and answers of many calls name what they are about. */
interface Named {
  podSandboxId?: string;
  containerId?: string;
  /** Of a sandbox, or of a container. */
  config?: { metadata?: Metadata; image?: { image?: string } };
  sandboxConfig?: { metadata?: Metadata };
  image?: { image?: string };
}

/** What a call's span says of it: its pod, container and image, as far as the request tells. */
export function callAttributes({ pods }: CriContext, request: unknown): Attributes {
  const { podSandboxId, containerId, config, sandboxConfig, image } = request as Named;
  const container = containerId ? peek(() => pods.containers.find(containerId)) : undefined;
  const sandboxId = podSandboxId || container?.sandboxId;
  const sandbox = sandboxId ? peek(() => pods.sandboxes.find(sandboxId)) : undefined;
  const isSandbox = config?.metadata?.uid !== undefined;
  const asked = sandboxConfig?.metadata ?? (isSandbox ? config?.metadata : undefined);
  const pod: Metadata = sandbox?.config.metadata ?? asked ?? {};
  return given({
    pod: pod.name && `${pod.namespace}/${pod.name}`,
    podUid: pod.uid,
    podId: sandbox?.id ?? sandboxId,
    container: container?.config.metadata.name ?? (isSandbox ? undefined : config?.metadata?.name),
    containerId: container?.id ?? containerId,
    image: image?.image ?? config?.image?.image,
  });
}

/** What the answer adds: the ids of what was made. */
export function answerAttributes(response: unknown): Attributes {
  const { podSandboxId, containerId } = response as Named;
  return given({ podId: podSandboxId, containerId });
}

/** A beginning of several ids finds nothing here; the call itself refuses it. */
function peek<T extends SandboxRecord | ContainerRecord>(find: () => T | undefined): T | undefined {
  try {
    return find();
  } catch {
    return undefined;
  }
}

function given(attributes: Record<string, string | undefined>): Attributes {
  return Object.fromEntries(
    Object.entries(attributes).filter((pair): pair is [string, string] => Boolean(pair[1])),
  );
}
