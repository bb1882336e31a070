import { expect, it } from 'vitest';
import { lineOfKey } from './toml-lines.ts';

const document = `# a comment
root = "/a"

[cni]
# the next key
bin_dirs = [
  "/b",  # with a comment
  7,
]

[images] # pulls
note = """
[not.a.table]
"""
platform = "x"

[runtimes.crun]
root = "/r"
[runtimes."a.b"]
inline = { x = 1,
  y = 2 }
`;

it.each([
  [['root'], 2],
  [['cni'], 4],
  [['cni', 'bin_dirs'], 6],
  [['cni', 'bin_dirs', 1], 6],
  [['images', 'platform'], 15],
  [['runtimes', 'crun', 'root'], 18],
  [['runtimes', 'a.b'], 19],
  [['runtimes', 'a.b', 'inline', 'x'], 20],
])('finds %j on line %i', (path, line) => {
  expect(lineOfKey(document, path)).toBe(line);
});

it('answers undefined for a key that is not there', () => {
  expect(lineOfKey(document, ['not', 'a', 'table'])).toBeUndefined();
});
