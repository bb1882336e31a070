import { describe, expect, test } from 'vitest';
import { type DeepPartial, NamespaceMode, PodSandboxConfig } from '../gen/runtime/v1/api.ts';
import { toSandboxConfig } from './sandbox-config.ts';

const METADATA = { name: 'pod', namespace: 'default', uid: 'uid', attempt: 1 };

type Given = Parameters<typeof PodSandboxConfig.fromPartial>[0];

const convert = (changes: Given = {}) =>
  toSandboxConfig(PodSandboxConfig.fromPartial({ metadata: METADATA, ...changes }));
const withNamespaces = (namespaceOptions: object) =>
  convert({ linux: { securityContext: { namespaceOptions } } });

test('what is left out has the defaults of CRI', () => {
  expect(convert()).toEqual({
    metadata: METADATA,
    hostname: '',
    logDirectory: '',
    dns: undefined,
    portMappings: [],
    labels: {},
    annotations: {},
    cgroupParent: '',
    sysctls: {},
    namespaces: { network: 'pod', ipc: 'pod', pid: 'pod', targetId: '', user: undefined },
    privileged: false,
    security: {
      runAsUser: undefined,
      runAsGroup: undefined,
      supplementalGroups: [],
      seccomp: { type: 'runtime-default' },
      apparmor: undefined,
      selinux: undefined,
    },
    resources: undefined,
    overhead: undefined,
  });
});

test('what is given is kept', () => {
  const given = {
    hostname: 'h'.repeat(64),
    logDirectory: '/var/log/pods/x',
    labels: { a: 'b' },
    annotations: { c: 'd' },
  };
  const dnsConfig = { servers: ['10.0.0.10'], searches: ['svc'], options: ['ndots:5'] };
  const linux = {
    cgroupParent: '/kubepods/pod1',
    sysctls: { 'net.ipv4.ip_forward': '1' },
    securityContext: { privileged: true },
    overhead: { cpuShares: 2n },
  };
  expect(convert({ ...given, dnsConfig, linux })).toMatchObject({
    ...given,
    dns: dnsConfig,
    cgroupParent: '/kubepods/pod1',
    sysctls: linux.sysctls,
    privileged: true,
    overhead: { cpuShares: 2 },
  });
});

describe('a sandbox is refused', () => {
  test('without a configuration', () => {
    expect(() => toSandboxConfig(undefined)).toThrow('Invalid config: it is missing');
  });

  test.each<[string, Given, string]>([
    ['without metadata', { metadata: undefined }, 'config.metadata: it is missing'],
    ['without a name', { metadata: { ...METADATA, name: '' } }, 'config.metadata.name'],
    ['without a namespace', { metadata: { ...METADATA, namespace: '' } }, 'metadata.namespace'],
    ['without a uid', { metadata: { ...METADATA, uid: '' } }, 'config.metadata.uid'],
    ['with a NUL byte in its name', { metadata: { ...METADATA, name: 'a\0' } }, 'metadata.name'],
    ['for Windows', { windows: {} }, 'config.windows'],
    ['with a long host name', { hostname: 'ä'.repeat(33) }, 'config.hostname'],
    ['with a host name of two lines', { hostname: 'a\nb' }, 'config.hostname'],
    ['with a relative log directory', { logDirectory: 'logs' }, 'config.log_directory'],
    ['with a NUL byte in a path', { logDirectory: '/a\0' }, 'config.log_directory'],
    ['with a server of two lines', { dnsConfig: { servers: ['a\nb'] } }, 'dns_config.servers'],
    ['with a search of two lines', { dnsConfig: { searches: ['a\r'] } }, 'dns_config.searches'],
    ['with an option of two lines', { dnsConfig: { options: ['\n'] } }, 'dns_config.options'],
    ['with a NUL byte in its cgroup', { linux: { cgroupParent: '\0' } }, 'cgroup_parent'],
    [
      'with a score beyond the kernel’s',
      { linux: { resources: { oomScoreAdj: 1001n } } },
      'config.linux.resources.oom_score_adj',
    ],
  ])('%s', (_what, changes, field) => {
    expect(() => convert(changes)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining(field),
      }),
    );
  });
});

describe('a port', () => {
  const map = (mapping: DeepPartial<PodSandboxConfig['portMappings'][0]>) =>
    convert({ portMappings: [mapping] }).portMappings[0];

  test.each([
    [{ protocol: 0, containerPort: 80, hostPort: 8080 }, 'tcp'],
    [{ protocol: 1, containerPort: 53, hostPort: 53, hostIp: '::1' }, 'udp'],
    [{ protocol: 2, containerPort: 65535 }, 'sctp'],
  ] as const)('%j is mapped for %s', (mapping, protocol) => {
    expect(map(mapping)).toEqual({ hostPort: 0, hostIp: '', ...mapping, protocol });
  });

  test.each([
    [{ protocol: 3 }, 'there is no protocol 3'],
    [{ protocol: -1 }, 'there is no protocol -1'],
    [{ containerPort: 65536 }, '65536 is not a port'],
    [{ hostPort: -1 }, '-1 is not a port'],
    [{ hostPort: 80 }, 'host port 80 has no container port'],
    [{ hostIp: '10.0.0' }, '"10.0.0" is not an IP address'],
    [{ hostIp: '1.2.3.4 -j ACCEPT' }, 'is not an IP address'],
  ])('%j is refused', (mapping, reason) => {
    expect(() => map(mapping as object)).toThrow(reason);
  });
});

describe('namespaces', () => {
  const { POD, CONTAINER, NODE, TARGET } = NamespaceMode;

  test('are of the pod or the host as asked', () => {
    const { namespaces } = withNamespaces({ network: NODE, ipc: NODE, pid: CONTAINER });
    expect(namespaces).toEqual({ network: 'node', ipc: 'node', pid: 'container', targetId: '' });
  });

  test.each([
    [{ network: CONTAINER }, 'network: CONTAINER is neither POD nor NODE'],
    [{ ipc: TARGET }, 'ipc: TARGET is neither POD nor NODE'],
    [{ network: 9 }, 'network: 9 is neither POD nor NODE'],
    [{ pid: 9 }, 'pid: there is no mode 9'],
    [{ pid: TARGET }, 'target_id: it is missing'],
    [{ pid: TARGET, targetId: 'x' }, 'pid: a sandbox has no target'],
    [{ usernsOptions: { mode: POD } }, '0 mappings are given: it must be exactly one'],
  ])('%j are refused', (options, reason) => {
    expect(() => withNamespaces(options)).toThrow(reason);
  });

  test('of users may be said to be the host’s', () => {
    expect(withNamespaces({ usernsOptions: { mode: NODE } }).namespaces.network).toBe('pod');
  });
});
