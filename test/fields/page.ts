import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const PROJECT = new URL('../..', import.meta.url).pathname;
const PAGE = `${PROJECT}/docs/fields.md`;

/** The runtimes of the table's last columns. */
export const RUNTIMES = ['crun', 'runc', 'runsc'] as const;
export type Runtime = (typeof RUNTIMES)[number];

/** What came of a row's test with a runtime: the words of the last columns. */
export type Result = 'passed' | 'refused' | 'differs' | 'no effect' | 'failed';

/** A row of docs/fields.md. */
export interface Row {
  field: string;
  /** Files below src/. */
  code: string[];
  /** A file below test/cri/, without its ending. */
  testFile: string;
  testName: string;
  results: Record<Runtime, string>;
}

const ROW =
  /^\| `(\w+\.\w+)` \| .+ \| (`.+`) \| ([\w-]+): (.+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/gm;

export function readPage(): Row[] {
  const rows = readFileSync(PAGE, 'utf8').matchAll(ROW);
  return [...rows].map(
    ([
      ,
      field = '',
      code = '',
      testFile = '',
      testName = '',
      crun = '',
      runc = '',
      runsc = '',
    ]) => ({
      field,
      code: code.split(', ').map((path) => path.replaceAll('`', '')),
      testFile,
      testName,
      results: { crun, runc, runsc },
    }),
  );
}

/** Writes the last columns anew. */
export function writeResults(resultOf: (row: Row, runtime: Runtime) => Result): void {
  const rows = new Map(readPage().map((row) => [row.field, row]));
  const page = readFileSync(PAGE, 'utf8').replace(ROW, (line, field: string) => {
    const row = rows.get(field);
    if (row === undefined) return line;
    const before = line.split(' | ').slice(0, -RUNTIMES.length);
    return `${[...before, ...RUNTIMES.map((runtime) => resultOf(row, runtime))].join(' | ')} |`;
  });
  writeFileSync(PAGE, page);
}

/** Whether there is such a file below src/. */
export function hasCode(path: string): boolean {
  return existsSync(`${PROJECT}/src/${path}`);
}

/** Whether a file below test/cri/ has a test of that name. */
export function hasTest(row: Row): boolean {
  return beginningOf(row) !== undefined;
}

const WORDS: Record<string, Result> = {
  gvisorRefuses: 'refused',
  gvisorDiffers: 'differs',
  gvisorIgnores: 'no effect',
};

/** What a row's columns must say when its test passes where it runs. */
export function expectedResults(row: Row): Record<Runtime, Result> {
  const option = /^, (gvisor\w+)/.exec(beginningOf(row) ?? '')?.[1] ?? '';
  return { crun: 'passed', runc: 'passed', runsc: WORDS[option] ?? 'passed' };
}

/** What follows a test's name in its source. */
function beginningOf({ testFile, testName }: Row): string | undefined {
  const path = `${PROJECT}/test/cri/${testFile}.test.ts`;
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, 'utf8').replaceAll(/test\(\n\s+/g, 'test(');
  for (const quote of ["'", '"', '`']) {
    const call = `test(${quote}${testName}${quote}`;
    const start = text.indexOf(call);
    if (start >= 0) {
      const after = start + call.length;
      return text.slice(after, after + 100).replace(/^,\s+/, ', ');
    }
  }
  return undefined;
}
