import { existsSync, readFileSync } from 'node:fs';

const PROJECT = new URL('../..', import.meta.url).pathname;

/** A row of docs/fields.md. */
export interface Row {
  field: string;
  /** Files below src/. */
  code: string[];
  /** A file below test/cri/, without its ending. */
  testFile: string;
  testName: string;
}

export function readPage(): Row[] {
  const page = readFileSync(`${PROJECT}/docs/fields.md`, 'utf8');
  const rows = page.matchAll(/^\| `(\w+\.\w+)` \| .+ \| (`.+`) \| ([\w-]+): (.+) \|$/gm);
  return [...rows].map(([, field = '', code = '', testFile = '', testName = '']) => ({
    field,
    code: code.split(', ').map((path) => path.replaceAll('`', '')),
    testFile,
    testName,
  }));
}

/** Whether there is such a file below src/. */
export function hasCode(path: string): boolean {
  return existsSync(`${PROJECT}/src/${path}`);
}

/** Whether a file below test/cri/ has a test of that name. */
export function hasTest({ testFile, testName }: Row): boolean {
  const path = `${PROJECT}/test/cri/${testFile}.test.ts`;
  if (!existsSync(path)) return false;
  const text = readFileSync(path, 'utf8');
  return ["'", '"', '`'].some((quote) => text.includes(`test(${quote}${testName}${quote}`));
}
