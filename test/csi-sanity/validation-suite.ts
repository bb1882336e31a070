import { describe, expect, test } from 'vitest';
import * as csi from '../../src/gen/csi/v1/csi.ts';
import { codeOfFailure, type Subject } from './subject.ts';
import type { Get } from './suite.ts';

const Mode = csi.VolumeCapability_AccessMode_Mode;

type Offered = (subject: Subject) => boolean;
type Call = (subject: Subject) => Promise<unknown>;

const creates: Offered = ({ has }) => has.controller('CREATE_DELETE_VOLUME');
const snapshots: Offered = ({ has }) => has.controller('CREATE_DELETE_SNAPSHOT');
const expands: Offered = ({ has }) => has.controller('EXPAND_VOLUME');
const publishes: Offered = ({ has }) => has.controller('PUBLISH_UNPUBLISH_VOLUME');
const stages: Offered = ({ has }) => has.node('STAGE_UNSTAGE_VOLUME');
const tells: Offered = ({ has }) => has.node('GET_VOLUME_STATS');
const grows: Offered = ({ has }) => has.node('EXPAND_VOLUME');
const always: Offered = () => true;
const controls: Offered = ({ about }) => about.plugin.includes('CONTROLLER_SERVICE');

const create = (more: (subject: Subject) => csi.DeepPartial<csi.CreateVolumeRequest>): Call => {
  return (subject) => subject.client.controller.createVolume(subject.creation(more(subject)));
};
const stage = (more: (subject: Subject) => csi.DeepPartial<csi.NodeStageVolumeRequest>): Call => {
  return (subject) => {
    const request = { volumeId: 'x', stagingTargetPath: '/x', ...more(subject) };
    return subject.client.node.nodeStageVolume(csi.NodeStageVolumeRequest.fromPartial(request));
  };
};
const publish = (
  more: (subject: Subject) => csi.DeepPartial<csi.NodePublishVolumeRequest>,
): Call => {
  return (subject) => {
    const request = {
      volumeId: 'x',
      targetPath: '/x/y',
      stagingTargetPath: '/x',
      ...more(subject),
    };
    return subject.client.node.nodePublishVolume(csi.NodePublishVolumeRequest.fromPartial(request));
  };
};
const volumeCapability = (subject: Subject) => subject.capability();

/** Each MUST of a field: what breaks it is INVALID_ARGUMENT. */
const CASES: readonly (readonly [string, Offered, Call])[] = [
  ['CreateVolume: name is REQUIRED', creates, create(() => ({ name: '' }))],
  [
    'CreateVolume: volume_capabilities are REQUIRED',
    creates,
    create(() => ({ volumeCapabilities: [] })),
  ],
  [
    'CreateVolume: a name has no control characters',
    creates,
    create(() => ({ name: 'with\u0007bell' })),
  ],
  [
    'Size Limits: a string has at most 128 bytes',
    creates,
    create(() => ({ name: 'é'.repeat(65) })),
  ],
  [
    'Size Limits: a name of 300 characters is refused',
    creates,
    create(() => ({ name: 'n'.repeat(300) })),
  ],
  [
    'Size Limits: a map has at most 4 KiB',
    creates,
    create(() => ({
      parameters: Object.fromEntries(
        Array.from({ length: 40 }, (_, i) => [`key-${i}`, 'v'.repeat(100)]),
      ),
    })),
  ],
  [
    'Secrets: keys are alphanumeric, "-", "_" and "."',
    creates,
    create(() => ({ secrets: { 'a key': 'x' } })),
  ],
  [
    'VolumeCapability: access_type is REQUIRED',
    creates,
    create(() => ({ volumeCapabilities: [{ accessMode: { mode: Mode.SINGLE_NODE_WRITER } }] })),
  ],
  [
    'VolumeCapability: access_mode is REQUIRED',
    creates,
    create((subject) => ({
      volumeCapabilities: [{ ...subject.capability(), accessMode: undefined }],
    })),
  ],
  [
    'VolumeCapability: an access mode that nobody knows',
    creates,
    create((subject) => ({ volumeCapabilities: [subject.capability(99)] })),
  ],
  ['CapacityRange: at least one of both is given', creates, create(() => ({ capacityRange: {} }))],
  [
    'CapacityRange: values are not negative',
    creates,
    create(() => ({ capacityRange: { requiredBytes: -1n } })),
  ],
  [
    'CapacityRange: required_bytes are not more than limit_bytes',
    creates,
    create(() => ({ capacityRange: { requiredBytes: 2n << 20n, limitBytes: 1n << 20n } })),
  ],
  [
    'VolumeContentSource: one source is REQUIRED',
    creates,
    create(() => ({ volumeContentSource: {} })),
  ],
  [
    'DeleteVolume: volume_id is REQUIRED',
    creates,
    ({ client }) => client.controller.deleteVolume({ volumeId: '', secrets: {} }),
  ],
  [
    'ValidateVolumeCapabilities: volume_id is REQUIRED',
    controls,
    (subject) =>
      subject.client.controller.validateVolumeCapabilities(
        csi.ValidateVolumeCapabilitiesRequest.fromPartial({
          volumeCapabilities: [subject.capability()],
        }),
      ),
  ],
  [
    'ValidateVolumeCapabilities: volume_capabilities are REQUIRED',
    controls,
    ({ client }) =>
      client.controller.validateVolumeCapabilities(
        csi.ValidateVolumeCapabilitiesRequest.fromPartial({ volumeId: 'x' }),
      ),
  ],
  [
    'ControllerPublishVolume: node_id is REQUIRED',
    publishes,
    (subject) =>
      subject.client.controller.controllerPublishVolume(
        csi.ControllerPublishVolumeRequest.fromPartial({
          volumeId: 'x',
          volumeCapability: subject.capability(),
        }),
      ),
  ],
  [
    'CreateSnapshot: name is REQUIRED',
    snapshots,
    ({ client }) =>
      client.controller.createSnapshot(
        csi.CreateSnapshotRequest.fromPartial({ sourceVolumeId: 'x' }),
      ),
  ],
  [
    'CreateSnapshot: source_volume_id is REQUIRED',
    snapshots,
    ({ client }) =>
      client.controller.createSnapshot(csi.CreateSnapshotRequest.fromPartial({ name: 'x' })),
  ],
  [
    'DeleteSnapshot: snapshot_id is REQUIRED',
    snapshots,
    ({ client }) => client.controller.deleteSnapshot({ snapshotId: '', secrets: {} }),
  ],
  [
    'ControllerExpandVolume: volume_id is REQUIRED',
    expands,
    ({ client, size }) =>
      client.controller.controllerExpandVolume(
        csi.ControllerExpandVolumeRequest.fromPartial({ capacityRange: { requiredBytes: size } }),
      ),
  ],
  [
    'ControllerExpandVolume: capacity_range is REQUIRED',
    expands,
    ({ client }) =>
      client.controller.controllerExpandVolume(
        csi.ControllerExpandVolumeRequest.fromPartial({ volumeId: 'x' }),
      ),
  ],
  [
    'NodeStageVolume: volume_id is REQUIRED',
    stages,
    stage((subject) => ({ volumeId: '', volumeCapability: volumeCapability(subject) })),
  ],
  [
    'NodeStageVolume: staging_target_path is REQUIRED',
    stages,
    stage((subject) => ({ stagingTargetPath: '', volumeCapability: volumeCapability(subject) })),
  ],
  ['NodeStageVolume: volume_capability is REQUIRED', stages, stage(() => ({}))],
  [
    'NodeStageVolume: the path is absolute',
    stages,
    stage((subject) => ({ stagingTargetPath: 'x/y', volumeCapability: volumeCapability(subject) })),
  ],
  [
    'NodeStageVolume: mount_flags have at most 4 KiB',
    stages,
    stage(() => ({
      volumeCapability: {
        accessType: { $case: 'mount', value: { mountFlags: Array(50).fill('f'.repeat(100)) } },
        accessMode: { mode: Mode.SINGLE_NODE_WRITER },
      },
    })),
  ],
  [
    'NodeUnstageVolume: volume_id is REQUIRED',
    stages,
    ({ client }) => client.node.nodeUnstageVolume({ volumeId: '', stagingTargetPath: '/x' }),
  ],
  [
    'NodeUnstageVolume: staging_target_path is REQUIRED',
    stages,
    ({ client }) => client.node.nodeUnstageVolume({ volumeId: 'x', stagingTargetPath: '' }),
  ],
  [
    'NodePublishVolume: volume_id is REQUIRED',
    always,
    publish((subject) => ({ volumeId: '', volumeCapability: volumeCapability(subject) })),
  ],
  [
    'NodePublishVolume: target_path is REQUIRED',
    always,
    publish((subject) => ({ targetPath: '', volumeCapability: volumeCapability(subject) })),
  ],
  [
    'NodePublishVolume: volume_capability is REQUIRED',
    always,
    publish(() => ({ stagingTargetPath: '' })),
  ],
  [
    'NodePublishVolume: a path does not lead elsewhere',
    always,
    publish((subject) => ({
      targetPath: '/x/../../etc',
      volumeCapability: volumeCapability(subject),
    })),
  ],
  [
    'NodeUnpublishVolume: volume_id is REQUIRED',
    always,
    ({ client }) => client.node.nodeUnpublishVolume({ volumeId: '', targetPath: '/x' }),
  ],
  [
    'NodeUnpublishVolume: target_path is REQUIRED',
    always,
    ({ client }) => client.node.nodeUnpublishVolume({ volumeId: 'x', targetPath: '' }),
  ],
  [
    'NodeGetVolumeStats: volume_id is REQUIRED',
    tells,
    ({ client }) =>
      client.node.nodeGetVolumeStats(
        csi.NodeGetVolumeStatsRequest.fromPartial({ volumePath: 'some/path' }),
      ),
  ],
  [
    'NodeGetVolumeStats: volume_path is REQUIRED',
    tells,
    ({ client }) =>
      client.node.nodeGetVolumeStats(csi.NodeGetVolumeStatsRequest.fromPartial({ volumeId: 'x' })),
  ],
  [
    'NodeExpandVolume: volume_id is REQUIRED',
    grows,
    ({ client }) =>
      client.node.nodeExpandVolume(csi.NodeExpandVolumeRequest.fromPartial({ volumePath: '/x' })),
  ],
  [
    'NodeExpandVolume: volume_path is REQUIRED',
    grows,
    ({ client }) =>
      client.node.nodeExpandVolume(csi.NodeExpandVolumeRequest.fromPartial({ volumeId: 'x' })),
  ],
];

export function validationSuite(get: Get): void {
  describe('Error Scheme: INVALID_ARGUMENT', () => {
    test.for(CASES)('%s', async ([, offered, call], { skip }) => {
      const subject = get();
      if (!offered(subject)) skip();
      expect(await codeOfFailure(call(subject))).toBe('INVALID_ARGUMENT');
    });
  });

  describe('Error Scheme: UNIMPLEMENTED', () => {
    test('a call whose capability is not offered', async ({ skip }) => {
      const { client, has } = get();
      if (has.controller('MODIFY_VOLUME')) skip();
      const call = client.controller.controllerModifyVolume({
        ...{ volumeId: 'x', secrets: {}, mutableParameters: { a: 'b' } },
      });
      expect(await codeOfFailure(call)).toBe('UNIMPLEMENTED');
    });
  });
}
