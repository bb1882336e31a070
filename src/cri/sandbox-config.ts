import { isIP } from 'node:net';
import {
  type PortMapping as CriPortMapping,
  type DNSConfig,
  type PodSandboxConfig,
  type PodSandboxMetadata,
  Protocol,
} from '../gen/runtime/v1/api.ts';
import type { NamespaceModes, PortMapping, SandboxConfig } from '../pods/index.ts';
import { invalid, noNul, plainText, required } from './invalid.ts';
import { toNamespaceModes } from './namespace-modes.ts';
import { toResources } from './resources.ts';
import { toSandboxSecurity } from './sandbox-security.ts';

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
  refuseHostNamespaces(namespaces);
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
    security: toSandboxSecurity(security),
    resources: resources && toResources('config.linux.resources', resources),
    overhead: overhead && toResources('config.linux.overhead', overhead),
  };
}

/** Namespaces of the host do not belong to a pod's user namespace: it could not use them. */
function refuseHostNamespaces(modes: NamespaceModes): void {
  if (modes.user === undefined) return;
  for (const name of ['network', 'pid', 'ipc'] as const) {
    if (modes[name] !== 'node') continue;
    throw invalid(
      'config.linux.security_context.namespace_options.userns_options',
      `a pod with a user namespace cannot have the host's ${name} namespace`,
    );
  }
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
