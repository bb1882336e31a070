import { describe, expect, test } from 'vitest';
import * as csi from '../../src/gen/csi/v1/csi.ts';
import { codeOfFailure } from './subject.ts';
import type { Get } from './suite.ts';

export function snapshotSuite(get: Get): void {
  const list = async (more: csi.DeepPartial<csi.ListSnapshotsRequest> = {}) => {
    const request = csi.ListSnapshotsRequest.fromPartial(more);
    const { entries, nextToken } = await get().client.controller.listSnapshots(request);
    return { ids: entries.flatMap(({ snapshot }) => snapshot?.snapshotId ?? []), nextToken };
  };
  const creates = () => get().has.controller('CREATE_DELETE_SNAPSHOT');
  const lists = () => get().has.controller('LIST_SNAPSHOTS');

  describe('CreateSnapshot', () => {
    test('answers all REQUIRED fields; the same request again is the same snapshot', async ({
      skip,
    }) => {
      if (!creates()) skip();
      const { volumeId } = await get().create();
      const name = get().name('snapshot').padEnd(128, 'x');
      const first = await get().snapshot(volumeId, name);
      expect(first).toMatchObject({ sourceVolumeId: volumeId, creationTime: expect.any(Date) });
      expect(first.sizeBytes).toBeGreaterThanOrEqual(0n);
      expect(await get().snapshot(volumeId, name)).toEqual(first);
    });

    test('ALREADY_EXISTS: the same name for another volume', async ({ skip }) => {
      if (!creates()) skip();
      const [one, other] = [await get().create(), await get().create()];
      const name = get().name('snapshot');
      await get().snapshot(one.volumeId, name);
      const call = get().snapshot(other.volumeId, name);
      expect(await codeOfFailure(call)).toBe('ALREADY_EXISTS');
    });

    test('NOT_FOUND: no such volume', async ({ skip }) => {
      if (!creates()) skip();
      expect(await codeOfFailure(get().snapshot('never-was'))).toBe('NOT_FOUND');
    });

    test('a volume is made from a snapshot; NOT_FOUND without one', async ({ skip }) => {
      if (!creates()) skip();
      const { volumeId } = await get().create();
      const { snapshotId } = await get().snapshot(volumeId);
      const source = (id: string): csi.DeepPartial<csi.VolumeContentSource> => ({
        type: { $case: 'snapshot', value: { snapshotId: id } },
      });
      const restored = await get().create({ volumeContentSource: source(snapshotId) });
      expect(restored.contentSource).toMatchObject(source(snapshotId));
      const absent = get().create({ volumeContentSource: source('non-existing-snapshot-id') });
      expect(await codeOfFailure(absent)).toBe('NOT_FOUND');
    });
  });

  describe('DeleteSnapshot', () => {
    test('idempotent: a snapshot that is not there is deleted', async ({ skip }) => {
      if (!creates()) skip();
      const { snapshotId } = await get().snapshot((await get().create()).volumeId);
      for (const id of [snapshotId, snapshotId, 'reallyfakesnapshotid', '../../etc']) {
        await get().client.controller.deleteSnapshot({ snapshotId: id, secrets: {} });
      }
    });
  });

  describe('ListSnapshots', () => {
    test('filters by id and by source, and is empty for unknown ones', async ({ skip }) => {
      if (!lists()) skip();
      const [one, other] = [await get().create(), await get().create()];
      const target = await get().snapshot(one.volumeId);
      const unrelated = await get().snapshot(other.volumeId);
      const { snapshotId } = target;
      expect((await list({ snapshotId })).ids).toEqual([snapshotId]);
      expect((await list({ sourceVolumeId: one.volumeId })).ids).toEqual([snapshotId]);
      expect((await list({ snapshotId: 'none-exist-id' })).ids).toEqual([]);
      expect((await list({ sourceVolumeId: 'none-exist-id' })).ids).toEqual([]);
      expect((await list()).ids).toEqual(
        expect.arrayContaining([snapshotId, unrelated.snapshotId]),
      );
    });

    test('pages: a limited number, a token, and the rest', async ({ skip }) => {
      if (!lists()) skip();
      const { volumeId } = await get().create();
      for (let i = 0; i < 3; i++) await get().snapshot(volumeId);
      const all = (await list()).ids;
      const page = await list({ maxEntries: 2 });
      expect(page.ids.length).toBe(2);
      const rest = await list({ startingToken: page.nextToken });
      expect([...page.ids, ...rest.ids].toSorted()).toEqual(all.toSorted());
      expect(await codeOfFailure(list({ startingToken: 'invalid-token' }))).toBe('ABORTED');
    });
  });

  describe('GetSnapshot', () => {
    test('answers the snapshot; NOT_FOUND if it is not there', async ({ skip }) => {
      if (!get().has.controller('GET_SNAPSHOT')) skip();
      const made = await get().snapshot((await get().create()).volumeId);
      const { controller } = get().client;
      const { snapshotId } = made;
      expect((await controller.getSnapshot({ snapshotId, secrets: {} })).snapshot).toEqual(made);
      const absent = controller.getSnapshot({ snapshotId: 'never-was', secrets: {} });
      expect(await codeOfFailure(absent)).toBe('NOT_FOUND');
    });
  });
}
