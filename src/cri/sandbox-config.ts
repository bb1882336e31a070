import { isIP } from 'node:net';
import {
  NamespaceMode as CriMode,
  type PortMapping as CriPortMapping,
  type DNSConfig,
  type NamespaceOption,
  type PodSandboxConfig,
  type PodSandboxMetadata,
  Protocol,
} from '../gen/runtime/v1/api.ts';
import type { NamespaceMode, NamespaceModes, PortMapping, SandboxConfig } from '../pods/index.ts';
import { invalid, noNul, plainText, required } from './invalid.ts';
import { toResources } from './resources.ts';

/** Checks a PodSandboxConfig and puts it into plain values. */
export function toSandboxConfig(given: PodSandboxConfig | undefined): SandboxConfig {
  const config = required('config', given);
  if (config.windows !== undefined) throw invalid('config.windows', 'this is a Linux node');
  const security = config.linux?.securityContext;
  const namespaces = toNamespaceModes(
    'config.linux.security_context.namespace_options',
    security?.namespaceOptions,
  );
  if (namespaces.pid === 'target') {
    throw invalid('config.linux.security_context.namespace_options.pid', 'a sandbox has no target');
  }
  const { resources, overhead } = config.linux ?? {};
  return {
    metadata: toMetadata(required('config.metadata', config.metadata)),
    hostname: toHostname(config.hostname),
    logDirectory: toLogDirectory(config.logDirectory),
    dns: config.dnsConfig === undefined ? undefined : toDns(config.dnsConfig),
    portMappings: config.portMappings.map(toPortMapping),
    labels: config.labels,
    annotations: config.annotations,
    cgroupParent: noNul('config.linux.cgroup_parent', config.linux?.cgroupParent ?? ''),
    sysctls: config.linux?.sysctls ?? {},
    namespaces,
    privileged: security?.privileged ?? false,
    resources: resources && toResources('config.linux.resources', resources),
    overhead: overhead && toResources('config.linux.overhead', overhead),
  };
}

function toMetadata(metadata: PodSandboxMetadata): SandboxConfig['metadata'] {
  const text = (field: string, value: string) => noNul(field, required(field, value));
  return {
    name: text('config.metadata.name', metadata.name),
    namespace: text('config.metadata.namespace', metadata.namespace),
    uid: text('config.metadata.uid', metadata.uid),
    attempt: metadata.attempt,
  };
}

/** Linux allows 64 bytes (HOST_NAME_MAX). */
function toHostname(hostname: string): string {
  if (Buffer.byteLength(hostname) > 64) {
    throw invalid('config.hostname', `"${hostname}" is longer than 64 bytes`);
  }
  return plainText('config.hostname', hostname);
}

function toLogDirectory(path: string): string {
  if (path !== '' && !path.startsWith('/')) {
    throw invalid('config.log_directory', `"${path}" is not an absolute path`);
  }
  return noNul('config.log_directory', path);
}

function toDns(dns: DNSConfig): NonNullable<SandboxConfig['dns']> {
  const each = (field: string, values: string[]) =>
    values.map((value) => plainText(`config.dns_config.${field}`, value));
  return {
    servers: each('servers', dns.servers),
    searches: each('searches', dns.searches),
    options: each('options', dns.options),
  };
}

function toPortMapping(mapping: CriPortMapping): PortMapping {
  const field = 'config.port_mappings';
  const protocols = new Map<number, PortMapping['protocol']>([
    [Protocol.TCP, 'tcp'],
    [Protocol.UDP, 'udp'],
    [Protocol.SCTP, 'sctp'],
  ]);
  const protocol = protocols.get(mapping.protocol);
  if (protocol === undefined) throw invalid(field, `there is no protocol ${mapping.protocol}`);
  for (const port of [mapping.hostPort, mapping.containerPort]) {
    if (port < 0 || port > 65535) throw invalid(field, `${port} is not a port`);
  }
  if (mapping.hostPort > 0 && mapping.containerPort === 0) {
    throw invalid(field, `host port ${mapping.hostPort} has no container port`);
  }
  if (mapping.hostIp !== '' && isIP(mapping.hostIp) === 0) {
    throw invalid(field, `"${mapping.hostIp}" is not an IP address`);
  }
  return {
    protocol,
    containerPort: mapping.containerPort,
    hostPort: mapping.hostPort,
    hostIp: mapping.hostIp,
  };
}

const MODES = new Map<number, NamespaceMode>([
  [CriMode.POD, 'pod'],
  [CriMode.CONTAINER, 'container'],
  [CriMode.NODE, 'node'],
  [CriMode.TARGET, 'target'],
]);

/** Namespace options; left out, all are those of the pod. */
export function toNamespaceModes(
  field: string,
  options: NamespaceOption | undefined,
): NamespaceModes {
  const podOrNode = (name: string, value: number): 'pod' | 'node' => {
    const mode = MODES.get(value);
    if (mode === 'pod' || mode === 'node') return mode;
    throw invalid(`${field}.${name}`, `${mode?.toUpperCase() ?? value} is neither POD nor NODE`);
  };
  const pid = MODES.get(options?.pid ?? CriMode.POD);
  if (pid === undefined) throw invalid(`${field}.pid`, `there is no mode ${options?.pid}`);
  if (pid === 'target') required(`${field}.target_id`, options?.targetId);
  refuseUserNamespace(field, options);
  return {
    network: podOrNode('network', options?.network ?? CriMode.POD),
    ipc: podOrNode('ipc', options?.ipc ?? CriMode.POD),
    pid,
    targetId: options?.targetId ?? '',
  };
}

function refuseUserNamespace(field: string, options: NamespaceOption | undefined): void {
  const user = options?.usernsOptions;
  if (user === undefined || user.mode === CriMode.NODE) return;
  throw invalid(
    `${field}.userns_options`,
    'user namespaces are not supported',
    'Status reports it as runtime_handlers[].features.user_namespaces',
  );
}
