import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const PROJECT = new URL('../../', import.meta.url);

test('each test that the table of formats and faults names is there', () => {
  const table = readFileSync(new URL('docs/images-tests.md', PROJECT), 'utf8');
  const rows = [...table.matchAll(/^\| .* \| `([^`]+)`: "([^"]+)" \|$/gm)];
  expect(rows.length).toBe(table.match(/^\| (?!what \| becomes)/gm)?.length);
  for (const [row, file = '', name = ''] of rows) {
    const path = file.startsWith('src/') ? file : `test/${file}`;
    // Names in the source have their quotes escaped, if any.
    const source = readFileSync(new URL(path, PROJECT), 'utf8').replaceAll("\\'", "'");
    expect(source.includes(name), row).toBe(true);
  }
});
