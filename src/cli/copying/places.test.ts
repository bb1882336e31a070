import { expect, test } from 'vitest';
import { parsePlace, splitPath } from './places.ts';

test.each([
  ['abc:/tmp/x', { containerId: 'abc', path: '/tmp/x' }],
  ['abc:/with:colon', { containerId: 'abc', path: '/with:colon' }],
  ['/local/with:colon', undefined],
  ['./abc:/tmp', undefined],
  ['dir/abc:/tmp', undefined],
  ['plain', undefined],
])('%s', (text, place) => {
  expect(parsePlace(text)).toEqual(place);
});

test.each(['abc:relative', 'abc:', ':/tmp'])('%s is refused', (text) => {
  expect(() => parsePlace(text)).toThrow('CONTAINER:/PATH');
});

test.each([
  ['/a/b/c', { directory: '/a/b', name: 'c' }],
  ['/a/', { directory: '/', name: 'a' }],
  ['/', { directory: '/', name: '' }],
])('%s is split', (path, parts) => {
  expect(splitPath(path)).toEqual(parts);
});
