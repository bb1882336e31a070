import { expect, test } from 'vitest';
import { CreateVolumeRequest, NodePublishVolumeRequest } from '../../gen/csi/v1/csi.ts';
import { CallLocks } from './call-locks.ts';
import { capabilityAnswers, offerOf } from './capabilities.ts';
import type { CsiDriver } from './driver.ts';
import { pageOf } from './paging.ts';
import { checkPublishing, checkStaging, placeOf } from './places.ts';

const nothing = async () => ({});
const BASE = { name: 'a.example.com', version: '1' };
const NODE = { nodePublishVolume: nothing, nodeUnpublishVolume: nothing, nodeGetInfo: nothing };
const CONTROLLER = {
  createVolume: nothing,
  deleteVolume: nothing,
  validateVolumeCapabilities: nothing,
};

test('what a driver offers follows from its methods and features', () => {
  expect(offerOf({ ...BASE, ...NODE })).toMatchObject({
    ...{ plugin: [], controller: [], node: [], hasNode: true, expansion: undefined },
  });
  const offer = offerOf({
    ...BASE,
    ...CONTROLLER,
    ...NODE,
    nodeStageVolume: nothing,
    nodeUnstageVolume: nothing,
    nodeExpandVolume: nothing,
    listVolumes: nothing,
    createVolumeGroupSnapshot: nothing,
    deleteVolumeGroupSnapshot: nothing,
    getVolumeGroupSnapshot: nothing,
    features: { topology: true, cloneVolume: true, volumeCondition: true, expansion: 'OFFLINE' },
  });
  expect(offer).toMatchObject({
    plugin: [
      ...['CONTROLLER_SERVICE', 'VOLUME_ACCESSIBILITY_CONSTRAINTS', 'GROUP_CONTROLLER_SERVICE'],
    ],
    controller: ['CREATE_DELETE_VOLUME', 'LIST_VOLUMES', 'CLONE_VOLUME', 'VOLUME_CONDITION'],
    node: ['STAGE_UNSTAGE_VOLUME', 'EXPAND_VOLUME', 'VOLUME_CONDITION'],
    expansion: 'OFFLINE',
  });
  const [controller, service] = [
    capabilityAnswers(offer).controller,
    capabilityAnswers(offer).plugin,
  ];
  expect(controller.capabilities.map(({ type }) => type.value.type)).toEqual([1, 3, 7, 11]);
  expect(service.capabilities.map(({ type }) => [type.$case, type.value.type])).toEqual([
    ...[
      ['service', 1],
      ['service', 2],
      ['service', 3],
      ['volumeExpansion', 2],
    ],
  ]);
});

test.each<[RegExp, Partial<CsiDriver>]>([
  [
    /it has some of createVolume, deleteVolume, but not deleteVolume/,
    { createVolume: nothing, validateVolumeCapabilities: nothing },
  ],
  [/must have "validateVolumeCapabilities"/, { listVolumes: nothing }],
  [/must have "nodeGetInfo"/, { nodePublishVolume: nothing, nodeUnpublishVolume: nothing }],
  [/feature "expansion"/, { ...NODE, nodeExpandVolume: nothing }],
  [/feature "expansion"/, { ...NODE, features: { expansion: 'ONLINE' } }],
  [/its name/, { name: 'a_b' }],
  [/its name/, { name: 'x'.repeat(64) }],
  [/no version/, { version: '' }],
])('a driver whose parts do not go together is refused: %s', (reason, parts) => {
  expect(() => offerOf({ ...BASE, ...parts })).toThrow(reason);
});

test('calls on one volume exclude each other; copies of one source do not', () => {
  const locks = new CallLocks();
  const clone = (name: string) =>
    CreateVolumeRequest.fromPartial({
      name,
      volumeContentSource: { type: { $case: 'volume', value: { volumeId: 'v' } } },
    });
  const first = locks.acquire('CreateVolume', clone('a'));
  const second = locks.acquire('CreateVolume', clone('b'));
  expect(() => locks.acquire('CreateVolume', clone('b'))).toThrow(/volume to be named "b"/);
  const remove = () => locks.acquire('DeleteVolume', { volumeId: 'v' });
  expect(remove).toThrow(/another call on volume "v" is under way/);
  first[Symbol.dispose]();
  expect(remove).toThrow(/under way/);
  second[Symbol.dispose]();
  const removing = remove();
  expect(() => locks.acquire('CreateVolume', clone('c'))).toThrow(/volume "v"/);
  locks.acquire('NodeGetVolumeStats', { volumeId: 'v' })[Symbol.dispose]();
  removing[Symbol.dispose]();
  locks.acquire('CreateVolume', clone('b'))[Symbol.dispose]();
});

test('pages go on where the last ended, whatever comes and goes between', () => {
  const page = (entries: string[], startingToken = '', maxEntries = 2) =>
    pageOf(entries, (entry) => entry, { maxEntries, startingToken });
  const first = page(['c', 'a', 'b', 'd']);
  expect(first.entries).toEqual(['a', 'b']);
  expect(page(['a', 'c', 'd', 'aa'], first.nextToken)).toEqual({
    entries: ['c', 'd'],
    nextToken: '',
  });
  expect(page(['a'], first.nextToken)).toEqual({ entries: [], nextToken: '' });
  for (const token of ['invalid-token', 'x', `${first.nextToken}=`]) {
    expect(() => page(['a'], token)).toThrow(/starting_token/);
  }
});

test('a place is compared by all arguments but secrets, in whatever order they come', () => {
  const request = (more: object = {}) =>
    NodePublishVolumeRequest.fromPartial({
      volumeCapability: { accessMode: { mode: 1 } },
      publishContext: { a: '1', b: '2' },
      ...more,
    });
  const place = placeOf('/t', request());
  const same = placeOf('/t', request({ publishContext: { b: '2', a: '1' }, secrets: { s: 'x' } }));
  expect(checkPublishing([place], same)).toBe('same');
  expect(checkPublishing([], place)).toBe('new');
  const readonly = placeOf('/t', request({ readonly: true }));
  expect(() => checkPublishing([place], readonly)).toThrow(/other arguments/);
  expect(() => checkPublishing([place], placeOf('/u', request()))).toThrow(/allows one place/);
  const many = placeOf('/u', request({ volumeCapability: { accessMode: { mode: 5 } } }));
  expect(checkPublishing([place], many)).toBe('new');
  expect(checkStaging(place, place)).toBe('same');
  expect(() => checkStaging(place, placeOf('/u', request()))).toThrow(/staged at "\/t"/);
  expect(() => checkStaging(place, { ...many, path: '/t' })).toThrow(/another capability/);
});
