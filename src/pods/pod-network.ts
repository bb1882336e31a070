import { existsSync } from 'node:fs';
import type { PodAttachment } from '../cni/index.ts';
import type { SandboxRecord } from './records.ts';

/** What the network engine is told of a sandbox. */
export function attachmentOf(record: SandboxRecord): PodAttachment {
  const { config, namespaces } = record;
  const { metadata } = config;
  const netns = namespaces.net;
  return {
    containerId: record.id,
    netns: netns !== undefined && existsSync(netns) ? netns : '',
    podName: metadata.name,
    podNamespace: metadata.namespace,
    podUid: metadata.uid,
    portMappings: config.portMappings
      .filter(({ hostPort }) => hostPort > 0)
      .map(({ protocol, hostPort, containerPort, hostIp }) => ({
        protocol,
        hostPort,
        containerPort,
        ...(hostIp === '' ? {} : { hostIP: hostIp }),
      })),
    ...(config.dns === undefined ? {} : { dns: config.dns }),
    cgroupPath: record.cgroupParent,
    annotations: config.annotations,
  };
}
