import { expect, test } from 'vitest';
import { newId, shortId } from './ids.ts';

test('ids are 64 hex digits and never the same', () => {
  const ids = new Set(Array.from({ length: 100 }, newId));
  expect(ids.size).toBe(100);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{64}$/);
});

test('a short id is the beginning of the id', () => {
  const id = newId();
  expect(id.startsWith(shortId(id))).toBe(true);
  expect(shortId(id)).toHaveLength(13);
});
