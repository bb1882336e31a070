import type { TarFixtureEntry } from '../fixtures/tar.ts';

/**
 * Layers that were got wrong once, or that others have got wrong, with what they must
 * give: the merged tree as the kernel shows it, or the error. Grows with each find of the
 * property tests.
 */
export interface CorpusCase {
  name: string;
  /** Base first. */
  layers: TarFixtureEntry[][];
  expected: Record<string, string> | { error: RegExp };
}

const directory = (path: string, more: Partial<TarFixtureEntry> = {}): TarFixtureEntry => ({
  path,
  type: 'directory',
  ...more,
});
const link = (path: string, target: string): TarFixtureEntry => ({ path, type: 'symlink', target });
const hardLink = (path: string, target: string): TarFixtureEntry => ({
  path,
  type: 'link',
  target,
});
const file = (path: string, content = ''): TarFixtureEntry => ({ path, content });

export const CORPUS: CorpusCase[] = [
  {
    name: 'a whiteout that hides nothing is no name in its directory',
    layers: [[file('a/.wh.a')]],
    expected: { a: 'directory 755 0:0' },
  },
  {
    name: 'a whiteout in a directory that hides everything anyway',
    layers: [
      [file('a/x')],
      [directory('a/'), file('a/.wh..wh..opq'), file('a/.wh.x'), file('a/y')],
    ],
    expected: { a: 'directory 755 0:0', 'a/y': 'file 644 0:0 ' },
  },
  {
    name: 'an opaque directory without an entry keeps what it is below',
    layers: [[directory('b/a', { mode: 0o644, gid: 7 })], [file('b/a/.wh..wh..opq')]],
    expected: { b: 'directory 755 0:0', 'b/a': 'directory 644 0:7' },
  },
  {
    name: 'what is moved through a link may take the place of the link',
    layers: [[link('a/b', '/a')], [directory('a/b/b', { mode: 0o700 })]],
    expected: { a: 'directory 755 0:0', 'a/b': 'directory 700 0:0' },
  },
  {
    name: 'all below is deleted by way of a link to the root',
    layers: [[link('a', '.'), file('x')], [file('a/.wh..wh..opq')]],
    expected: {},
  },
  {
    name: 'a deletion by way of a link, of a directory that the layer has',
    layers: [
      [link('c/a', '.'), directory('c/c/d')],
      [file('c/a/.wh.c'), directory('c/c', { mode: 0o700 })],
    ],
    expected: { c: 'directory 755 0:0', 'c/a': 'link 0:0 .', 'c/c': 'directory 700 0:0' },
  },
  {
    name: 'a hard link to what a link has brought into the layer',
    layers: [[link('b', '.')], [file('b/a', 'x'), hardLink('c', 'a')]],
    expected: { a: 'file 644 0:0 x', b: 'link 0:0 .', c: 'file 644 0:0 x' },
  },
  {
    name: 'a hard link to a link of a lower layer that entries lead through',
    layers: [[link('c', 'a/a/c')], [file('c/b', 'x'), hardLink('d', 'c')]],
    expected: {
      a: 'directory 755 0:0',
      'a/a': 'directory 755 0:0',
      'a/a/c': 'directory 755 0:0',
      'a/a/c/b': 'file 644 0:0 x',
      c: 'link 0:0 a/a/c',
      d: 'link 0:0 a/a/c',
    },
  },
  {
    name: 'a moved directory with an entry says more than one without',
    layers: [[link('b', '..')], [directory('b/c', { mode: 0o700, uid: 5 }), directory('c/b')]],
    expected: { b: 'link 0:0 ..', c: 'directory 700 5:0', 'c/b': 'directory 755 0:0' },
  },
  {
    name: 'a deleted directory that is made again looks new',
    layers: [
      [link('a', '..'), directory('b', { gid: 1000 }), file('b/old')],
      [file('a/.wh.b'), file('b/new')],
    ],
    expected: { a: 'link 0:0 ..', b: 'directory 755 0:0', 'b/new': 'file 644 0:0 ' },
  },
  {
    name: 'a directory that took the place of a file hides the one below',
    layers: [[file('a/x')], [file('a', 'now a file')], [file('a/y')]],
    expected: { a: 'directory 755 0:0', 'a/y': 'file 644 0:0 ' },
  },
  {
    name: 'a name through a link of the same layer stays in the layer',
    layers: [[link('etc', '/../../etc'), file('etc/passwd', 'inside')]],
    expected: { error: /"etc\/passwd": too many links/ },
  },
  {
    name: 'a link of a lower layer that leads out leads to the root',
    layers: [[link('out', '../../../..')], [file('out/tmp/x', 'inside')]],
    expected: {
      out: 'link 0:0 ../../../..',
      tmp: 'directory 755 0:0',
      'tmp/x': 'file 644 0:0 inside',
    },
  },
  {
    name: 'links of lower layers that lead in a circle',
    layers: [[link('a', 'b'), link('b', 'a')], [file('a/x')]],
    expected: { error: /"a": a link leads to itself/ },
  },
  {
    name: 'a link of a lower layer that leads to itself',
    layers: [[link('a', 'a/b')], [file('a/x')]],
    expected: { error: /too many links|leads to itself/ },
  },
  {
    name: 'a hard link to a directory of a lower layer',
    layers: [[directory('d')], [hardLink('x', 'd')]],
    expected: { error: /"x": its target "d" is not a file/ },
  },
  {
    name: 'a hard link out of the layer by way of a lower link',
    layers: [[link('d', '/')], [hardLink('x', 'd/etc/passwd')]],
    expected: { error: /"x": its target "d\/etc\/passwd" is not a file/ },
  },
  {
    name: 'a deletion by way of a link that the same layer puts in its place',
    layers: [
      [file('c/.wh.a'), link('a', '.')],
      [file('c/.wh.a'), file('a/c', 'file')],
    ],
    expected: { a: 'link 0:0 .', c: 'file 644 0:0 file' },
  },
  {
    name: 'a whiteout as a directory',
    layers: [[file('.wh.a/b')]],
    expected: { error: /"\.wh\.a\/b": a directory in it has the name of a whiteout/ },
  },
  {
    name: 'a directory with an entry is moved onto one that was made anew',
    layers: [
      [link('b', '/c')],
      [file('.wh.c'), directory('b/b', { mode: 0o4755, gid: 1000 }), directory('c/b/c')],
    ],
    expected: {
      b: 'link 0:0 /c',
      c: 'directory 755 0:0',
      'c/b': 'directory 4755 0:1000',
      'c/b/c': 'directory 755 0:0',
    },
  },
  {
    name: 'deletions in a directory, by way of a link, that the layer replaces by a file',
    layers: [
      [directory('a'), file('a/x'), link('b', '/a')],
      [file('b/.wh..wh..opq'), file('a')],
    ],
    expected: { a: 'file 644 0:0 ', b: 'link 0:0 /a' },
  },
  {
    name: 'a file in a directory, by way of a link, that the layer replaces by a file',
    layers: [
      [directory('a'), link('b', '/a')],
      [file('b/x'), file('a')],
    ],
    expected: { error: /"b": "a" is not a directory/ },
  },
];
