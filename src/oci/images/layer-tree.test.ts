import { describe, expect, test } from 'vitest';
import { quoteBytes, systemPath } from './byte-path.ts';
import {
  cleanPath,
  DirectoryNode,
  FILE,
  LayerTree,
  type Place,
  SymlinkNode,
} from './layer-tree.ts';

function makeDirectory({ directory, name }: Place): DirectoryNode {
  const node = new DirectoryNode();
  directory.children.set(name, node);
  return node;
}

/** A tree of files and, for values with an arrow, links. */
function treeOf(entries: Record<string, string>): LayerTree {
  const tree = new LayerTree();
  for (const [path, what] of Object.entries(entries)) {
    const place = tree.locate(path, makeDirectory);
    const node = what.startsWith('->') ? new SymlinkNode(what.slice(2)) : FILE;
    place?.directory.children.set(place.name, node);
  }
  return tree;
}

function locate(tree: LayerTree, path: string): string {
  const place = tree.locate(path, makeDirectory);
  return place === undefined ? '/' : `/${[...place.above, place.name].join('/')}`;
}

describe('paths in a layer', () => {
  test.each([
    ['a', '/a'],
    ['./a//b/', '/a/b'],
    ['/a', '/a'],
    ['a/./b', '/a/b'],
    ['a/../b', '/b'],
    ['', '/'],
    ['.', '/'],
    ['/', '/'],
    ['a/..', '/'],
  ])('"%s" is %s', (path, expected) => {
    expect(locate(new LayerTree(), path)).toBe(expected);
  });

  test.each(['..', '../a', 'a/../../b', '/..', `${'x'.repeat(256)}`])('"%s" is refused', (path) => {
    expect(() => cleanPath(path)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });

  test.each([
    ['up/x', '/x'],
    ['abs/x', '/etc/x'],
    ['chain/x', '/etc/x'],
    ['deep/link/x', '/deep/x'],
    ['out/x', '/x'],
    ['dots/x', '/etc/x'],
    ['abs', '/abs'],
  ])('"%s" leads by links to %s', (path, expected) => {
    const tree = treeOf({
      up: '->..',
      abs: '->/etc',
      chain: '->abs',
      'deep/link': '->../deep',
      out: '->../../../../..',
      dots: '->deep/../abs/.',
    });
    expect(locate(tree, path)).toBe(expected);
  });

  test('what is looked for is not made', () => {
    const tree = treeOf({ 'a/b': 'file' });
    expect(tree.find('a/c/d')).toBeUndefined();
    expect(tree.find('a/b')?.node).toBe(FILE);
    expect([...tree.root.children.keys()]).toEqual(['a']);
  });
});

test('byte strings become paths of the same bytes', () => {
  expect(systemPath('/r', 'a/b')).toBe('/r/a/b');
  expect(systemPath('/r', '')).toBe('/r');
  expect(systemPath('/ü', 'a\xff')).toEqual(
    Buffer.concat([Buffer.from('/ü/a'), Buffer.from([0xff])]),
  );
  expect(systemPath(undefined, '../x')).toBe('../x');
  expect(quoteBytes(Buffer.from('ü"').toString('latin1'))).toBe('"ü\\""');
});
