import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, test } from 'vitest';

const PROJECT = new URL('../..', import.meta.url).pathname;

interface Rule {
  name: string;
  comment: string;
}

test('the import table of docs/architecture.md is the one that is enforced', () => {
  const require = createRequire(import.meta.url);
  const { forbidden } = require(`${PROJECT}/.dependency-cruiser.cjs`) as { forbidden: Rule[] };
  const enforced = forbidden.flatMap(({ comment }) => {
    const [, folder, list = ''] = /^src\/(\w+) may import (.*)$/.exec(comment) ?? [];
    return folder === undefined ? [] : [[folder, list.replace('nothing of src', '')]];
  });
  const page = readFileSync(`${PROJECT}/docs/architecture.md`, 'utf8');
  const rows = page.matchAll(/^\| `(\w+)\/` \|.*\| ([\w, ]*?) ?\|$/gm);
  const documented = [...rows].map(([, folder, list]) => [folder, list]);
  expect(documented.length).toBeGreaterThan(5);
  expect(documented.sort()).toEqual(enforced.sort());
});
