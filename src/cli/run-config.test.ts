import { describe, expect, it } from 'vitest';
import { NamespaceMode, PodSandboxStatus, Protocol } from '../gen/runtime/v1/api.ts';
import {
  logDirectoryOfRun,
  mountOf,
  portMapping,
  runContainerConfig,
  runPodConfig,
} from './run-config.ts';

const NAMESPACE = { namespace: 'default' };

describe('ports', () => {
  it.each([
    ['8080:80', { hostIp: '', hostPort: 8080, containerPort: 80, protocol: Protocol.TCP }],
    ['127.0.0.1:53:5353/udp', { hostIp: '127.0.0.1', hostPort: 53, protocol: Protocol.UDP }],
    ['[::1]:1:2/sctp', { hostIp: '::1', hostPort: 1, protocol: Protocol.SCTP }],
  ])('reads %s', (text, mapping) => {
    expect(portMapping(text)).toMatchObject(mapping);
  });

  it.each(['80', '0:80', '80:70000', '80:80/icmp', 'a:80:80', '80:80:'])('refuses %s', (text) => {
    expect(() => portMapping(text)).toThrow(`"${text}" is no port`);
  });
});

describe('mounts', () => {
  it('reads a mount', () => {
    expect(mountOf('/a:/b')).toMatchObject({
      hostPath: '/a',
      containerPath: '/b',
      readonly: false,
    });
    expect(mountOf('/a:/b:ro')).toMatchObject({ readonly: true });
  });

  it.each(['/a', 'a:/b', '/a:b', '/a:/b:exec', '/a:/b:ro:x'])('refuses %s', (text) => {
    expect(() => mountOf(text)).toThrow(`"${text}" is no mount`);
  });
});

describe('the pod', () => {
  it('is named after the image and has a log directory of its own', () => {
    const pod = runPodConfig('localhost:5000/Team/Web_App:1.2@sha256:abc', NAMESPACE);
    expect(pod.metadata?.name).toMatch(/^web-app-[0-9a-f]{8}$/);
    const { name, uid } = pod.metadata!;
    expect(pod.logDirectory).toBe(`/var/log/pods/default_${name}_${uid}`);
    expect(pod.hostname).toBe(name);
    expect(pod.labels['io.kubernetes.pod.uid']).toBe(uid);
  });

  it('has the network and name asked for', () => {
    const pod = runPodConfig('x', { ...NAMESPACE, name: 'web', hostNetwork: true });
    expect(pod.metadata?.name).toBe('web');
    expect(pod.hostname).toBe('');
    expect(pod.linux?.securityContext?.namespaceOptions?.network).toBe(NamespaceMode.NODE);
    expect(() => runPodConfig('x', { ...NAMESPACE, name: 'a/../b' })).toThrow(
      '"a/../b" is no name',
    );
  });
});

it('knows the log directory of its own pods only', () => {
  const { metadata, annotations, logDirectory } = runPodConfig('x', NAMESPACE);
  const directory = (changes: object) =>
    logDirectoryOfRun(PodSandboxStatus.fromPartial({ metadata, annotations, ...changes }));
  expect(directory({})).toBe(logDirectory);
  expect(directory({ annotations: {} })).toBeUndefined();
  expect(directory({ metadata: { ...metadata, name: '../../etc' } })).toBeUndefined();
});

describe('the container', () => {
  function config(options: object, command: string[] = []) {
    const pod = runPodConfig('x', NAMESPACE);
    const environment = { HOME: '/root' };
    return runContainerConfig({
      ...{ image: 'x', command, pod, environment, volumes: [] },
      options: { ...NAMESPACE, ...options },
    });
  }

  it('runs the command as arguments, or another program', () => {
    expect(config({}, ['a', '-b'])).toMatchObject({ command: [], args: ['a', '-b'] });
    expect(config({ entrypoint: '/x' }, ['a'])).toMatchObject({ command: ['/x'], args: ['a'] });
  });

  it('takes variables, and hands on those that are named only', () => {
    const { envs } = config({ env: ['A=b=c', 'HOME'] });
    expect(envs.map(({ key, value }) => `${key}=${value}`)).toEqual(['A=b=c', 'HOME=/root']);
    expect(() => config({ env: ['ABSENT'] })).toThrow('no variable "ABSENT"');
    expect(() => config({ env: ['=x'] })).toThrow('is no variable');
  });

  it('takes a user by number or name', () => {
    const context = (user: string) => config({ user }).linux?.securityContext;
    expect(context('7:8')).toMatchObject({ runAsUser: { value: 7n }, runAsGroup: { value: 8n } });
    expect(context('7')?.runAsGroup).toBeUndefined();
    expect(context('nobody')).toMatchObject({ runAsUsername: 'nobody' });
    expect(() => context('nobody:x')).toThrow('is no user');
  });
});
