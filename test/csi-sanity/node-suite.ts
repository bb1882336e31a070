import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import * as csi from '../../src/gen/csi/v1/csi.ts';
import { listMounts } from '../../src/linux/index.ts';
import { codeOfFailure, type Subject } from './subject.ts';
import type { Get } from './suite.ts';

const Mode = csi.VolumeCapability_AccessMode_Mode;

const mounted = (path: string) => listMounts().filter(({ target }) => target === path).length;

/** Where data go: into a file of the file system, or the device itself. */
function dataOf({ options }: Subject, target: string): string {
  return options.access === 'block' ? target : join(target, 'data');
}

async function write(subject: Subject, target: string, text: string): Promise<void> {
  const flag = subject.options.access === 'block' ? 'r+' : 'w';
  await writeFile(dataOf(subject, target), text, { flag, flush: true });
}

async function read(subject: Subject, target: string, length: number): Promise<string> {
  const data = await readFile(dataOf(subject, target));
  return data.toString('utf8', 0, length);
}

export function nodeSuite(get: Get): void {
  describe('NodeStageVolume', () => {
    test('idempotent: staged twice, unstaged twice', async ({ skip }) => {
      const subject = get();
      if (!subject.has.node('STAGE_UNSTAGE_VOLUME')) skip();
      const volume = await subject.create();
      const path = await subject.stage(volume);
      const mounts = mounted(path);
      await subject.stage(volume, { stagingTargetPath: path });
      expect(mounted(path)).toBe(mounts);
      await subject.unstage(volume, path);
      expect(mounted(path)).toBe(0);
      await subject.unstage(volume, path);
    });

    test('ALREADY_EXISTS: staged at the path with another capability', async ({ skip }) => {
      const subject = get();
      if (!subject.has.node('STAGE_UNSTAGE_VOLUME')) skip();
      const volume = await subject.create();
      const stagingTargetPath = await subject.stage(volume);
      const volumeCapability = subject.capability(Mode.SINGLE_NODE_READER_ONLY);
      const call = subject.stage(volume, { stagingTargetPath, volumeCapability });
      expect(await codeOfFailure(call)).toBe('ALREADY_EXISTS');
    });

    test('FAILED_PRECONDITION: a capability that the volume does not have', async ({ skip }) => {
      const subject = get();
      if (!subject.has.node('STAGE_UNSTAGE_VOLUME')) skip();
      const volume = await subject.create();
      const block = subject.options.access === 'block';
      const volumeCapability: csi.DeepPartial<csi.VolumeCapability> = {
        accessType: block
          ? { $case: 'mount', value: { fsType: 'ext4' } }
          : { $case: 'block', value: {} },
        accessMode: { mode: Mode.SINGLE_NODE_WRITER },
      };
      const call = subject.stage(volume, { volumeCapability });
      expect(await codeOfFailure(call)).toBe('FAILED_PRECONDITION');
    });

    test('NOT_FOUND: no such volume; unstaging it is done', async ({ skip }) => {
      const subject = get();
      if (!subject.has.node('STAGE_UNSTAGE_VOLUME')) skip();
      for (const volumeId of ['never-was', '../volumes', '..']) {
        const volume = csi.Volume.fromPartial({ volumeId });
        expect(await codeOfFailure(subject.stage(volume))).toBe('NOT_FOUND');
      }
    });
  });

  describe('NodePublishVolume', () => {
    test('the path is made, is the volume, and is deleted by NodeUnpublishVolume', async () => {
      const subject = get();
      const volume = await subject.create();
      const target = await subject.publish(volume, await subject.stage(volume));
      expect(mounted(target)).toBe(1);
      await write(subject, target, 'kept');
      expect(await read(subject, target, 4)).toBe('kept');
      await subject.unpublish(volume, target);
      expect(existsSync(target)).toBe(false);
      expect(existsSync(dirname(target))).toBe(true);
      await subject.unpublish(volume, target);
    });

    test('idempotent: the same arguments again', async () => {
      const subject = get();
      const volume = await subject.create();
      const staging = await subject.stage(volume);
      const targetPath = await subject.publish(volume, staging);
      await subject.publish(volume, staging, { targetPath });
      expect(mounted(targetPath)).toBe(1);
    });

    test('data outlive publication', async () => {
      const subject = get();
      const volume = await subject.create();
      const staging = await subject.stage(volume);
      const first = await subject.publish(volume, staging);
      await write(subject, first, 'kept');
      await subject.unpublish(volume, first);
      const second = await subject.publish(volume, staging);
      expect(await read(subject, second, 4)).toBe('kept');
    });

    test('readonly: nothing can be written', async () => {
      const subject = get();
      const volume = await subject.create();
      const staging = await subject.stage(volume);
      const target = await subject.publish(volume, staging, { readonly: true });
      await expect(write(subject, target, 'x')).rejects.toThrow(/EROFS|EPERM|EACCES/);
    });

    test('ALREADY_EXISTS: published at the path with other arguments', async () => {
      const subject = get();
      const volume = await subject.create();
      const staging = await subject.stage(volume);
      const targetPath = await subject.publish(volume, staging);
      const call = subject.client.node.nodePublishVolume(
        subject.publication(volume, staging, { targetPath, readonly: true }),
      );
      expect(await codeOfFailure(call)).toBe('ALREADY_EXISTS');
    });

    test('FAILED_PRECONDITION: a second path, in a mode that allows one', async () => {
      const subject = get();
      const volume = await subject.create();
      const staging = await subject.stage(volume);
      await subject.publish(volume, staging);
      const call = subject.client.node.nodePublishVolume(subject.publication(volume, staging));
      expect(await codeOfFailure(call)).toBe('FAILED_PRECONDITION');
    });

    test('a second path, in a mode that allows many', async ({ skip }) => {
      const subject = get();
      const mode = Mode.SINGLE_NODE_MULTI_WRITER;
      if (!subject.has.node('SINGLE_NODE_MULTI_WRITER')) skip();
      const volumeCapability = subject.capability(mode);
      const volume = await subject.create({ volumeCapabilities: [volumeCapability] });
      const staging = await subject.stage(volume, { volumeCapability });
      const first = await subject.publish(volume, staging, { volumeCapability });
      const second = await subject.publish(volume, staging, { volumeCapability });
      await write(subject, first, 'both');
      expect(await read(subject, second, 4)).toBe('both');
    });

    test('FAILED_PRECONDITION: staging_target_path is missing', async ({ skip }) => {
      const subject = get();
      if (!subject.has.node('STAGE_UNSTAGE_VOLUME')) skip();
      const volume = await subject.create();
      await subject.stage(volume);
      const call = subject.client.node.nodePublishVolume(subject.publication(volume, ''));
      expect(await codeOfFailure(call)).toBe('FAILED_PRECONDITION');
    });

    test('FAILED_PRECONDITION: the volume is not staged there', async ({ skip }) => {
      const subject = get();
      if (!subject.has.node('STAGE_UNSTAGE_VOLUME')) skip();
      const volume = await subject.create();
      const elsewhere = join(subject.directory, subject.name('elsewhere'));
      await mkdir(elsewhere);
      const call = subject.client.node.nodePublishVolume(subject.publication(volume, elsewhere));
      expect(await codeOfFailure(call)).toBe('FAILED_PRECONDITION');
    });

    test('NOT_FOUND: no such volume', async () => {
      const subject = get();
      const volume = csi.Volume.fromPartial({ volumeId: 'never-was' });
      const call = subject.client.node.nodePublishVolume(
        subject.publication(volume, subject.directory),
      );
      expect(await codeOfFailure(call)).toBe('NOT_FOUND');
    });
  });

  describe('DeleteVolume', () => {
    test('FAILED_PRECONDITION: the volume is in use', async ({ skip }) => {
      const subject = get();
      if (!subject.has.node('STAGE_UNSTAGE_VOLUME')) skip();
      const volume = await subject.create();
      await subject.publish(volume, await subject.stage(volume));
      const call = subject.client.controller.deleteVolume({
        ...{ volumeId: volume.volumeId, secrets: {} },
      });
      expect(await codeOfFailure(call)).toBe('FAILED_PRECONDITION');
    });
  });

  describe('NodeUnpublishVolume, NodeUnstageVolume', () => {
    test('what is at the path of another volume stays there', async () => {
      const subject = get();
      const [used, idle] = [await subject.create(), await subject.create()];
      const staging = await subject.stage(used);
      const target = await subject.publish(used, staging);
      await subject.unpublish(idle, target);
      await subject.unstage(idle, staging);
      await write(subject, target, 'kept');
      expect(await read(subject, target, 4)).toBe('kept');
      expect(mounted(target)).toBe(1);
    });
  });

  describe('NodeGetVolumeStats', () => {
    const stats = (volumeId: string, volumePath: string) =>
      get().client.node.nodeGetVolumeStats({ volumeId, volumePath, stagingTargetPath: '' });

    test('total and unit are REQUIRED, and numbers add up', async ({ skip }) => {
      const subject = get();
      if (!subject.has.node('GET_VOLUME_STATS')) skip();
      const volume = await subject.create();
      const target = await subject.publish(volume, await subject.stage(volume));
      const { usage, volumeCondition } = await stats(volume.volumeId, target);
      const bytes = usage.find(({ unit }) => unit === csi.VolumeUsage_Unit.BYTES);
      expect(bytes?.total).toBeGreaterThan(0n);
      expect((bytes?.used ?? 0n) <= (bytes?.total ?? 0n)).toBe(true);
      if (!subject.has.node('VOLUME_CONDITION')) return;
      expect(volumeCondition).toMatchObject({
        abnormal: false,
        message: expect.stringMatching(/./),
      });
    });

    test('NOT_FOUND: no such volume, or not at that path', async ({ skip }) => {
      const subject = get();
      if (!subject.has.node('GET_VOLUME_STATS')) skip();
      expect(await codeOfFailure(stats('never-was', 'some/path'))).toBe('NOT_FOUND');
      const volume = await subject.create();
      await subject.publish(volume, await subject.stage(volume));
      expect(await codeOfFailure(stats(volume.volumeId, 'some/path'))).toBe('NOT_FOUND');
      expect(await codeOfFailure(stats(volume.volumeId, '/'))).toBe('NOT_FOUND');
    });
  });

  describe('snapshots and clones', () => {
    test('hold what the volume held at their time', async ({ skip }) => {
      const subject = get();
      if (!subject.has.controller('CREATE_DELETE_SNAPSHOT')) skip();
      const volume = await subject.create();
      const target = await subject.publish(volume, await subject.stage(volume));
      await write(subject, target, 'then');
      const { snapshotId } = await subject.snapshot(volume.volumeId);
      await write(subject, target, 'now!');
      const sources: csi.DeepPartial<csi.VolumeContentSource>[] = [
        { type: { $case: 'snapshot', value: { snapshotId } } },
        { type: { $case: 'volume', value: { volumeId: volume.volumeId } } },
      ];
      const found: string[] = [];
      for (const volumeContentSource of sources) {
        const copy = await subject.create({ volumeContentSource });
        const place = await subject.publish(copy, await subject.stage(copy));
        found.push(await read(subject, place, 4));
      }
      expect(found).toEqual(['then', 'now!']);
    });
  });
}
