/**
 * Runs each test that docs/fields.md names with each runtime, and writes what came of it into
 * the table's last columns. Arguments are the runtimes to run; by default all.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Result, type Row, RUNTIMES, type Runtime, readPage, writeResults } from './page.ts';

const VITEST = new URL('../../node_modules/vitest/vitest.mjs', import.meta.url).pathname;

/** Part of vitest's JSON report. */
interface Report {
  testResults: {
    name: string;
    assertionResults: { title: string; status: string; meta: { gvisor?: Result } }[];
  }[];
}

/** What came of each test, by `FILE: name`. */
type Results = ReadonlyMap<string, Result>;

/** Runs the files and answers what came of their tests. One that could not be loaded has none. */
async function runWith(runtime: Runtime, files: readonly string[]): Promise<Results> {
  const directory = mkdtempSync(join(tmpdir(), 'keelson-fields-'));
  const report = join(directory, 'report.json');
  const args = [VITEST, 'run', ...files.map((file) => `test/cri/${file}.test.ts`)];
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  try {
    await new Promise<void>((resolve) => {
      const env = { ...process.env, TEST_RUNTIME: runtime };
      // Files side by side would make each other late.
      const options = { env, maxBuffer: 64 << 20 };
      const program = [...args, '--no-file-parallelism', ...reporters];
      execFile(process.execPath, program, options, (_error, stdout) => {
        process.stdout.write(stdout);
        resolve();
      });
    });
    return resultsIn(JSON.parse(readFileSync(report, 'utf8')) as Report);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function resultsIn({ testResults }: Report): Results {
  return new Map(
    testResults.flatMap(({ name, assertionResults }) => {
      const file = /([^/]+)\.test\.ts$/.exec(name)?.[1] ?? name;
      return assertionResults.map(({ title, status, meta }): [string, Result] => [
        `${file}: ${title}`,
        status === 'passed' ? 'passed' : status === 'failed' ? 'failed' : (meta.gvisor ?? 'failed'),
      ]);
    }),
  );
}

const wanted = process.argv.slice(2);
const files = [...new Set(readPage().map(({ testFile }) => testFile))];
const results = new Map<Runtime, Results>();
for (const runtime of RUNTIMES) {
  if (wanted.length === 0 || wanted.includes(runtime)) {
    results.set(runtime, await runWith(runtime, files));
  }
}
let failures = 0;
writeResults((row: Row, runtime) => {
  const ran = results.get(runtime);
  if (ran === undefined) return row.results[runtime] as Result;
  const result = ran.get(`${row.testFile}: ${row.testName}`) ?? 'failed';
  if (result === 'failed') failures++;
  return result;
});
process.exitCode = failures === 0 ? 0 : 1;
