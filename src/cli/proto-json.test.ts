import { expect, it } from 'vitest';
import { ContainerConfig, Image, StatusResponse } from '../gen/runtime/v1/api.ts';
import { featureJson, protoJson } from './proto-json.ts';

it('shows defaults, but no unset messages', () => {
  expect(protoJson(Image, Image.fromPartial({ id: 'x' }))).toEqual({
    id: 'x',
    repoTags: [],
    repoDigests: [],
    size: '0',
    username: '',
    pinned: false,
  });
});

it('writes enums by name, 64-bit integers as strings, bytes in base64, and maps as they are', () => {
  const config = ContainerConfig.fromPartial({
    envs: [{ key: 'A', value: Buffer.from([0xff, 0]) }],
    mounts: [{ containerPath: '/x', propagation: 2 }, {}],
    annotations: { 'some.key': 'v' },
    linux: { resources: { cpuQuota: -1n }, securityContext: { supplementalGroups: [7n] } },
  });
  expect(protoJson(ContainerConfig, config)).toMatchObject({
    envs: [{ key: 'A', value: '/wA=' }],
    mounts: [
      { propagation: 'PROPAGATION_BIDIRECTIONAL', readonly: false, uidMappings: [] },
      { containerPath: '', propagation: 'PROPAGATION_PRIVATE' },
    ],
    annotations: { 'some.key': 'v' },
    labels: {},
    linux: {
      resources: { cpuQuota: '-1', hugepageLimits: [], unified: {} },
      securityContext: { supplementalGroups: ['7'] },
    },
    stopSignal: expect.any(String),
  });
});

it('shows features by the names of the protocol, without those that are off', () => {
  const answer = StatusResponse.fromPartial({
    runtimeHandlers: [
      { name: '', features: { recursiveReadOnlyMounts: true } },
      { name: 'runc', features: {} },
    ],
  });
  expect(featureJson(protoJson(StatusResponse, answer)['runtimeHandlers'])).toEqual([
    { features: { recursive_read_only_mounts: true } },
    { name: 'runc', features: {} },
  ]);
});
