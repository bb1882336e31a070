import { describe, expect, test } from 'vitest';
import * as csi from '../../src/gen/csi/v1/csi.ts';
import { codeOfFailure, type Subject } from './subject.ts';
import type { Get } from './suite.ts';

const Mode = csi.VolumeCapability_AccessMode_Mode;

async function idsOf(subject: Subject): Promise<string[]> {
  const { entries } = await subject.client.controller.listVolumes({
    ...{ maxEntries: 0, startingToken: '' },
  });
  return entries.flatMap(({ volume }) => volume?.volumeId ?? []);
}

export function controllerSuite(get: Get): void {
  describe('CreateVolume', () => {
    test('capacity_bytes is what was required, or more', async () => {
      const volume = await get().create();
      expect(volume.volumeId).toMatch(/^.{1,128}$/);
      expect(volume.capacityBytes).toBeGreaterThanOrEqual(get().size);
    });

    test('capacity_range is OPTIONAL', async () => {
      const volume = await get().create({ capacityRange: undefined });
      expect(volume.volumeId).not.toBe('');
    });

    test('limit_bytes are kept', async () => {
      const range = { requiredBytes: get().size, limitBytes: get().size };
      const volume = await get().create({ capacityRange: range });
      expect(volume.capacityBytes).toBe(get().size);
    });

    test('idempotent: the same request again is the same volume', async () => {
      const request = get().creation();
      const first = await get().create(request);
      const { volume } = await get().client.controller.createVolume(request);
      expect(volume).toEqual(first);
    });

    test('idempotent: called twice at once, one volume is made', async ({ skip }) => {
      const subject = get();
      if (!subject.has.controller('LIST_VOLUMES')) skip();
      const before = (await idsOf(subject)).length;
      const request = subject.creation();
      const made = await Promise.allSettled([subject.create(request), subject.create(request)]);
      const codes = made.map((each) => (each.status === 'rejected' ? each.reason.code : 'OK'));
      // A call that is under way makes the other ABORTED.
      expect(codes.toSorted()).toSatisfy((all: string[]) =>
        ['ABORTED,OK', 'OK,OK'].includes(all.join()),
      );
      expect((await idsOf(subject)).length).toBe(before + 1);
    });

    test('ALREADY_EXISTS: the same name with another capacity', async () => {
      const volume = get().creation();
      await get().create(volume);
      const other = {
        ...volume,
        capacityRange: { requiredBytes: get().size * 2n, limitBytes: 0n },
      };
      expect(await codeOfFailure(get().create(other))).toBe('ALREADY_EXISTS');
    });

    test('a name of the largest size is accepted', async () => {
      const name = get().name().padEnd(128, 'x');
      expect((await get().create({ name })).volumeId).not.toBe('');
    });

    test('a name of any Unicode characters is accepted', async () => {
      const name = `${get().name()} ünï/../"\u{1f4be}`;
      const volume = await get().create({ name });
      expect(volume.volumeId).not.toBe('');
    });

    test('accessible_topology is what was required', async ({ skip }) => {
      const { about } = get();
      if (!about.plugin.includes('VOLUME_ACCESSIBILITY_CONSTRAINTS')) skip();
      const here = { segments: { ...about.node?.topology } };
      const volume = await get().create({ accessibilityRequirements: { requisite: [here] } });
      expect(volume.accessibleTopology).toEqual([here]);
    });

    test('RESOURCE_EXHAUSTED: a topology where the volume cannot be', async ({ skip }) => {
      const { about } = get();
      if (!about.plugin.includes('VOLUME_ACCESSIBILITY_CONSTRAINTS')) skip();
      const [key = ''] = Object.keys(about.node?.topology ?? {});
      const requisite = [{ segments: { [key]: 'elsewhere' } }];
      const call = get().create({ accessibilityRequirements: { requisite } });
      expect(await codeOfFailure(call)).toBe('RESOURCE_EXHAUSTED');
    });
  });

  describe('DeleteVolume', () => {
    test('idempotent: a volume that is not there is deleted', async () => {
      const { volumeId } = await get().create();
      for (const id of [volumeId, volumeId, 'never-was', '../../etc']) {
        await get().client.controller.deleteVolume({ volumeId: id, secrets: {} });
      }
    });
  });

  describe('ValidateVolumeCapabilities', () => {
    const validation = (volumeId: string, volumeCapabilities: csi.VolumeCapability[]) =>
      get().client.controller.validateVolumeCapabilities(
        csi.ValidateVolumeCapabilitiesRequest.fromPartial({ volumeId, volumeCapabilities }),
      );

    test('what is supported is confirmed, with the capabilities', async () => {
      const { volumeId } = await get().create();
      const { confirmed } = await validation(volumeId, [get().capability()]);
      expect(confirmed?.volumeCapabilities).toEqual([get().capability()]);
    });

    test('what is not supported is not confirmed, with a message', async () => {
      const { volumeId } = await get().create();
      const other = csi.VolumeCapability.fromPartial({
        accessType:
          get().options.access === 'block'
            ? { $case: 'mount', value: { fsType: 'ext4' } }
            : { $case: 'block', value: {} },
        accessMode: { mode: Mode.SINGLE_NODE_WRITER },
      });
      const answer = await validation(volumeId, [get().capability(), other]);
      expect(answer.confirmed).toBeUndefined();
      expect(answer.message).not.toBe('');
    });

    test('NOT_FOUND: no such volume', async () => {
      for (const id of ['never-was', '../../etc/passwd', '/']) {
        expect(await codeOfFailure(validation(id, [get().capability()]))).toBe('NOT_FOUND');
      }
    });
  });

  describe('ListVolumes', () => {
    test('shows volumes when they are there, and not when they are deleted', async ({ skip }) => {
      const subject = get();
      if (!subject.has.controller('LIST_VOLUMES')) skip();
      const { volumeId } = await subject.create();
      expect(await idsOf(subject)).toContain(volumeId);
      await subject.client.controller.deleteVolume({ volumeId, secrets: {} });
      expect(await idsOf(subject)).not.toContain(volumeId);
    });

    test('pages: all entries once, and no token after the last', async ({ skip }) => {
      const subject = get();
      if (!subject.has.controller('LIST_VOLUMES')) skip();
      for (let i = 0; i < 3; i++) await subject.create();
      const seen: string[] = [];
      let token = '';
      do {
        const page = await subject.client.controller.listVolumes({
          ...{ maxEntries: 2, startingToken: token },
        });
        expect(page.entries.length).toBeLessThanOrEqual(2);
        seen.push(...page.entries.flatMap(({ volume }) => volume?.volumeId ?? []));
        token = page.nextToken;
      } while (token !== '');
      expect(seen.toSorted()).toEqual((await idsOf(subject)).toSorted());
    });

    test('ABORTED: a token that was never given out', async ({ skip }) => {
      const subject = get();
      if (!subject.has.controller('LIST_VOLUMES')) skip();
      const list = { maxEntries: 0, startingToken: 'invalid-token' };
      expect(await codeOfFailure(subject.client.controller.listVolumes(list))).toBe('ABORTED');
    });
  });

  describe('ControllerGetVolume', () => {
    test('answers volume and status; NOT_FOUND if it is not there', async ({ skip }) => {
      const subject = get();
      if (!subject.has.controller('GET_VOLUME')) skip();
      const created = await subject.create();
      const { volumeId } = created;
      const { volume, status } = await subject.client.controller.controllerGetVolume({ volumeId });
      expect(volume).toEqual(created);
      expect(status).toBeDefined();
      const absent = subject.client.controller.controllerGetVolume({ volumeId: 'never-was' });
      expect(await codeOfFailure(absent)).toBe('NOT_FOUND');
    });
  });

  describe('GetCapacity', () => {
    const capacity = (more: csi.DeepPartial<csi.GetCapacityRequest>) =>
      get().client.controller.getCapacity(csi.GetCapacityRequest.fromPartial(more));

    test('without arguments, and with those of a volume', async ({ skip }) => {
      const { has, options, capability } = get();
      if (!has.controller('GET_CAPACITY')) skip();
      expect((await capacity({})).availableCapacity).toBeGreaterThan(0n);
      const volumeCapabilities = [capability.call(get())];
      const usual = await capacity({ volumeCapabilities, parameters: options.parameters ?? {} });
      expect(usual.availableCapacity).toBeGreaterThan(0n);
    });

    test('a topology that is elsewhere has none', async ({ skip }) => {
      const { about, has } = get();
      const [key] = Object.keys(about.node?.topology ?? {});
      if (!has.controller('GET_CAPACITY') || key === undefined) return skip();
      const elsewhere = await capacity({
        accessibleTopology: { segments: { [key]: 'elsewhere' } },
      });
      expect(elsewhere.availableCapacity).toBe(0n);
    });
  });

  describe('CLONE_VOLUME', () => {
    test('a volume is made from another; NOT_FOUND without a source', async ({ skip }) => {
      const subject = get();
      if (!subject.has.controller('CLONE_VOLUME')) skip();
      const { volumeId } = await subject.create();
      const source = (id: string): csi.DeepPartial<csi.VolumeContentSource> => ({
        type: { $case: 'volume', value: { volumeId: id } },
      });
      const clone = await subject.create({ volumeContentSource: source(volumeId) });
      expect(clone.contentSource).toMatchObject(source(volumeId));
      const absent = subject.create({ volumeContentSource: source('never-was') });
      expect(await codeOfFailure(absent)).toBe('NOT_FOUND');
    });
  });
}
