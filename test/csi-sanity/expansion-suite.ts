import { describe, expect, test } from 'vitest';
import * as csi from '../../src/gen/csi/v1/csi.ts';
import { codeOfFailure } from './subject.ts';
import type { Get } from './suite.ts';

export function expansionSuite(get: Get): void {
  const expand = (volumeId: string, range: csi.DeepPartial<csi.CapacityRange>) =>
    get().client.controller.controllerExpandVolume(
      csi.ControllerExpandVolumeRequest.fromPartial({ volumeId, capacityRange: range }),
    );
  const offered = () => get().has.controller('EXPAND_VOLUME');

  describe('ControllerExpandVolume', () => {
    test('the volume has the size asked; idempotent; never smaller', async ({ skip }) => {
      if (!offered()) skip();
      const { volumeId } = await get().create();
      const requiredBytes = get().size * 2n;
      for (let i = 0; i < 2; i++) {
        expect((await expand(volumeId, { requiredBytes })).capacityBytes).toBe(requiredBytes);
      }
      const smaller = await expand(volumeId, { requiredBytes: get().size });
      expect(smaller.capacityBytes).toBe(requiredBytes);
    });

    test('OUT_OF_RANGE: a limit below the present size', async ({ skip }) => {
      if (!offered()) skip();
      const { volumeId } = await get().create();
      const call = expand(volumeId, { limitBytes: get().size / 2n });
      expect(await codeOfFailure(call)).toBe('OUT_OF_RANGE');
    });

    test('NOT_FOUND: no such volume', async ({ skip }) => {
      if (!offered()) skip();
      const call = expand('never-was', { requiredBytes: get().size });
      expect(await codeOfFailure(call)).toBe('NOT_FOUND');
    });
  });

  describe('NodeExpandVolume', () => {
    test('after ControllerExpandVolume the published volume is larger', async ({ skip }) => {
      const subject = get();
      if (!subject.has.node('EXPAND_VOLUME') || !offered()) skip();
      const volume = await subject.create();
      const staging = await subject.stage(volume);
      const target = await subject.publish(volume, staging);
      const totalOf = async () => {
        const { usage } = await subject.client.node.nodeGetVolumeStats({
          ...{ volumeId: volume.volumeId, volumePath: target, stagingTargetPath: staging },
        });
        return usage.find(({ unit }) => unit === csi.VolumeUsage_Unit.BYTES)?.total ?? 0n;
      };
      const before = await totalOf();
      const requiredBytes = subject.size * 2n;
      const { nodeExpansionRequired } = await expand(volume.volumeId, { requiredBytes });
      const grow = () =>
        subject.client.node.nodeExpandVolume(
          csi.NodeExpandVolumeRequest.fromPartial({
            volumeId: volume.volumeId,
            volumePath: target,
            capacityRange: { requiredBytes },
          }),
        );
      if (subject.options.growsMounted === false) {
        expect(await codeOfFailure(grow())).toBe('FAILED_PRECONDITION');
        return;
      }
      for (let i = 0; i < 2; i++) await grow();
      if (nodeExpansionRequired) expect(await totalOf()).toBeGreaterThan(before);
    });

    test('a volume that was expanded before it is staged has its size', async ({ skip }) => {
      const subject = get();
      if (!subject.has.node('EXPAND_VOLUME') || !offered()) skip();
      const volume = await subject.create();
      const requiredBytes = subject.size * 2n;
      await expand(volume.volumeId, { requiredBytes });
      const target = await subject.publish(volume, await subject.stage(volume));
      await subject.client.node.nodeExpandVolume(
        csi.NodeExpandVolumeRequest.fromPartial({
          volumeId: volume.volumeId,
          volumePath: target,
          capacityRange: { requiredBytes },
        }),
      );
      const { usage } = await subject.client.node.nodeGetVolumeStats({
        ...{ volumeId: volume.volumeId, volumePath: target, stagingTargetPath: '' },
      });
      expect(usage[0]?.total).toBeGreaterThan(subject.size);
    });

    test('NOT_FOUND: no such volume', async ({ skip }) => {
      if (!get().has.node('EXPAND_VOLUME')) skip();
      const call = get().client.node.nodeExpandVolume(
        csi.NodeExpandVolumeRequest.fromPartial({ volumeId: 'never-was', volumePath: 'some/path' }),
      );
      expect(await codeOfFailure(call)).toBe('NOT_FOUND');
    });
  });
}
