import { expect, test } from 'vitest';
import { Container, PodSandbox } from '../gen/nri/v1alpha1/api.ts';
import { inChunks } from './chunks.ts';

const pods = [1, 2, 3].map((id) => PodSandbox.fromPartial({ id: `p${id}`, name: 'x'.repeat(100) }));
const containers = [1, 2].map((id) =>
  Container.fromPartial({ id: `c${id}`, args: ['y'.repeat(150)] }),
);

const ids = (limit?: number) =>
  [...inChunks(pods, containers, limit)].map((chunk) => [
    ...[...chunk.pods, ...chunk.containers].map(({ id }) => id),
    ...(chunk.more ? ['more'] : []),
  ]);

test('what fits goes at once; nothing is one message too', () => {
  expect(ids()).toEqual([['p1', 'p2', 'p3', 'c1', 'c2']]);
  expect([...inChunks([], [])]).toEqual([{ pods: [], containers: [], more: false }]);
});

test('what does not fit goes in parts, in order', () => {
  expect(ids(300)).toEqual([['p1', 'p2', 'more'], ['p3', 'c1', 'more'], ['c2']]);
});

test('an object that never fits fails', () => {
  expect(() => ids(150)).toThrow('Cannot tell NRI plugins of "c1"');
});
