import { KeelsonError } from '../../base/index.ts';
import type { Attachment } from './attachment.ts';
import { type Bandwidth, bandwidthOf } from './bandwidth.ts';

/** A pod to be attached to the networks. */
export interface PodAttachment {
  /** The sandbox's id. */
  containerId: string;
  /** Path of the network namespace, empty when it is gone. */
  netns: string;
  podName: string;
  podNamespace: string;
  podUid: string;
  portMappings: readonly PortMapping[];
  dns?: { servers: readonly string[]; searches: readonly string[]; options: readonly string[] };
  /** Limits that take the place of those in the annotations. */
  bandwidth?: Bandwidth;
  cgroupPath?: string;
  /** `kubernetes.io/ingress-bandwidth` and `kubernetes.io/egress-bandwidth` are honoured. */
  annotations?: Readonly<Record<string, string>>;
}

export interface PortMapping {
  /** 0: not on the host. */
  hostPort: number;
  containerPort: number;
  protocol: 'tcp' | 'udp' | 'sctp';
  /** Empty or left out: all of the host's addresses. */
  hostIP?: string;
}

/** What the plugins are told of a pod, by the conventions of Kubernetes runtimes. */
export function attachmentOf(pod: PodAttachment, ifname: string): Attachment {
  return {
    containerId: pod.containerId,
    netns: pod.netns,
    ifname,
    args: [
      ['IgnoreUnknown', '1'],
      ['K8S_POD_NAMESPACE', pod.podNamespace],
      ['K8S_POD_NAME', pod.podName],
      ['K8S_POD_INFRA_CONTAINER_ID', pod.containerId],
      ['K8S_POD_UID', pod.podUid],
    ],
    capabilityArgs: capabilityArgsOf(pod),
  };
}

function capabilityArgsOf(pod: PodAttachment): Record<string, unknown> {
  const portMappings = pod.portMappings.filter(({ hostPort }) => hostPort > 0).map(checkPort);
  const bandwidth = pod.bandwidth ?? bandwidthOf(pod.annotations ?? {});
  const { dns, cgroupPath, annotations = {} } = pod;
  const hasDns = dns !== undefined && Object.values(dns).some((values) => values.length > 0);
  return {
    ...(portMappings.length === 0 ? {} : { portMappings }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(hasDns ? { dns } : {}),
    ...(cgroupPath === undefined || cgroupPath === '' ? {} : { cgroupPath }),
    ...(Object.keys(annotations).length === 0
      ? {}
      : { 'io.kubernetes.cri.pod-annotations': annotations }),
  };
}

function checkPort(mapping: PortMapping): PortMapping {
  const { hostPort, containerPort, protocol, hostIP } = mapping;
  for (const port of [hostPort, containerPort]) {
    if (Number.isInteger(port) && port > 0 && port < 65536) continue;
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot map host port ${hostPort}`, {
      reason: `${port} is no port number`,
    });
  }
  return { hostPort, containerPort, protocol, ...(hostIP ? { hostIP } : {}) };
}
