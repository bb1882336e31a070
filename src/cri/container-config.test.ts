import { describe, expect, test } from 'vitest';
import { ContainerConfig, MountPropagation, Signal } from '../gen/runtime/v1/api.ts';
import { fromStopSignal, toContainerConfig } from './container-config.ts';
import { fromMount } from './mount.ts';

type Given = Parameters<typeof ContainerConfig.fromPartial>[0];

const BASE = { metadata: { name: 'app', attempt: 2 }, image: { image: 'busybox' } };
const convert = (changes: Given = {}) =>
  toContainerConfig(ContainerConfig.fromPartial({ ...BASE, ...changes }));

test('what is left out has the defaults of CRI', () => {
  expect(convert()).toMatchObject({
    metadata: { name: 'app', attempt: 2 },
    image: { image: 'busybox' },
    ...{ command: [], args: [], envs: [], mounts: [], devices: [], workingDir: '', logPath: '' },
    ...{ stdin: false, stdinOnce: false, tty: false, stopSignal: undefined },
    resources: { memoryLimit: undefined, oomScoreAdj: undefined },
    security: { privileged: false, seccomp: { type: 'unconfined' } },
  });
});

describe('a container is refused', () => {
  test('without a configuration', () => {
    expect(() => toContainerConfig(undefined)).toThrow('Invalid config: it is missing');
  });

  const device = { hostPath: '/dev/fuse', containerPath: '', permissions: 'rw' };
  test.each<[string, Given, string]>([
    ['without metadata', { metadata: undefined }, 'config.metadata: it is missing'],
    ['without a name', { metadata: { name: '' } }, 'config.metadata.name: it is missing'],
    ['with a NUL byte in its name', { metadata: { name: 'a\0' } }, 'config.metadata.name'],
    ['without an image', { image: undefined }, 'config.image: it is missing'],
    ['with an image without a name', { image: { image: '' } }, 'config.image.image'],
    ['for Windows', { windows: {} }, 'config.windows'],
    ['with a CDI device without a name', { CDIDevices: [{}] }, 'config.CDI_devices.name'],
    ['with a NUL byte in its command', { command: ['a', 'b\0'] }, 'config.command'],
    ['with a NUL byte in its arguments', { args: ['\0'] }, 'config.args'],
    ['with a NUL byte in its directory', { workingDir: '/\0' }, 'config.working_dir'],
    ['with a log outside of its directory', { logPath: '../x' }, 'config.log_path'],
    ['with a log far outside', { logPath: 'a/../../x' }, 'config.log_path'],
    ['with a log at an absolute path', { logPath: '/var/log/x' }, 'config.log_path'],
    ['with a NUL byte in its log', { logPath: 'x\0' }, 'config.log_path'],
    ['with a device from nowhere', { devices: [{ ...device, hostPath: '' }] }, 'host_path'],
    ['with a NUL byte in a device', { devices: [{ ...device, containerPath: '\0' }] }, 'devices'],
    ['with a signal that CRI does not know', { stopSignal: 999 as Signal }, 'no signal 999'],
    ['with a negative signal', { stopSignal: -1 as Signal }, 'no signal -1'],
  ])('%s', (_what, changes, reason) => {
    expect(() => convert(changes)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining(reason),
      }),
    );
  });
});

describe('a variable', () => {
  const variable = (key: string, value: string | Uint8Array) =>
    convert({ envs: [{ key, value: Buffer.from(value) }] }).envs;

  test.each([
    ['A', 'b=c'],
    ['A', ''],
    ['odd name', 'Ä\n'],
    ['__proto__', 'x'],
  ])('%j may be %j', (key, value) => expect(variable(key, value)).toEqual([{ key, value }]));

  test.each([
    ['', 'x', '"" is not a name'],
    ['A=B', 'x', '"A=B" is not a name'],
    ['A\0', 'x', 'NUL byte'],
    ['A', '\0', 'NUL byte'],
    ['A', Buffer.from([0xff]), 'the value of "A" is not UTF-8'],
  ])('%j with the value %j is refused', (key, value, reason) => {
    expect(() => variable(key, value)).toThrow(reason);
  });
});

describe('a mount', () => {
  const given = { containerPath: '/data', hostPath: '/srv/data' };
  const mount = (changes: object) => convert({ mounts: [{ ...given, ...changes }] }).mounts[0];

  test('is read field by field', () => {
    const changes = { readonly: true, recursiveReadOnly: true, mountOptions: ['noexec'] };
    expect(mount({ ...changes, propagation: 1 })).toEqual({
      ...given,
      readonly: true,
      recursiveReadOnly: true,
      propagation: 'host-to-container',
      image: undefined,
      imageSubPath: '',
      uidMappings: [],
      gidMappings: [],
      selinuxRelabel: false,
      options: ['noexec'],
    });
  });

  test('is told as it was given', () => {
    const propagation = MountPropagation.PROPAGATION_BIDIRECTIONAL;
    expect(fromMount(mount({ propagation })!)).toMatchObject({ ...given, propagation });
  });

  test('of an image without a name is an ordinary one', () => {
    expect(mount({ image: { image: '' } })).toMatchObject(given);
  });

  test.each([
    [{ containerPath: '' }, 'config.mounts.container_path: it is missing'],
    [{ hostPath: '' }, 'config.mounts.host_path: it is missing'],
    [{ hostPath: 'srv' }, '"srv" is not an absolute path'],
    [{ hostPath: '/srv\0' }, 'NUL byte'],
    [{ containerPath: '/data\0' }, 'NUL byte'],
    [{ propagation: 3 }, 'there is no propagation 3'],
    [{ mountOptions: ['noexec', 'suid'] }, '"suid" is not a mount option'],
    [{ mountOptions: ['noexec,suid'] }, '"noexec,suid" is not a mount option'],
    [{ image: { image: 'x' } }, 'ImageVolumeMountFailed'],
    [{ uidMappings: [{ hostId: 1 }] }, 'length is 0'],
    [{ gidMappings: [{ hostId: 2 ** 32 - 1, length: 1 }] }, 'more than there are'],
  ])('with %j is refused', (changes, reason) => expect(() => mount(changes)).toThrow(reason));
});

describe('a stop signal', () => {
  test.each([
    [Signal.SIGNAL_SIGTERM, 'SIGTERM'],
    [Signal.SIGNAL_SIGRTMIN, 'SIGRTMIN'],
    [Signal.SIGNAL_SIGRTMINPLUS15, 'SIGRTMIN+15'],
    [Signal.SIGNAL_SIGRTMAXMINUS1, 'SIGRTMAX-1'],
  ])('%i of CRI is %s, and back', (signal, name) => {
    expect(convert({ stopSignal: signal }).stopSignal).toBe(name);
    expect(fromStopSignal(name)).toBe(signal);
  });

  test('is known by its short name too', () => {
    expect(fromStopSignal('term')).toBe(Signal.SIGNAL_SIGTERM);
    expect(fromStopSignal('RTMIN+3')).toBe(Signal.SIGNAL_SIGRTMINPLUS3);
  });

  test.each(['', '15', 'SIGNOTHING', 'constructor'])('%j has no number in CRI', (name) => {
    expect(fromStopSignal(name)).toBe(Signal.SIGNAL_RUNTIME_DEFAULT);
  });
});
