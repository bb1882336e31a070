import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const SUMMARY = new URL('../../scripts/summary.ts', import.meta.url).pathname;

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

interface Outcome {
  tests?: string[][];
  checks?: string[];
  code?: number;
}

/** Answers the last line and the exit code for a run whose files had these outcomes. */
async function summary({ tests, checks = ['passed'], code = 0 }: Outcome) {
  const [results, outcomes] = [join(directory, 'results.json'), join(directory, 'checks')];
  await writeFile(outcomes, checks.map((outcome) => `${outcome}\n`).join(''));
  if (tests !== undefined) {
    const count = (status: string) => tests.flat().filter((each) => each === status).length;
    const report = {
      numPassedTests: count('passed'),
      numFailedTests: count('failed'),
      testResults: tests.map((file) => ({
        status: file.length === 0 || file.includes('failed') ? 'failed' : 'passed',
        assertionResults: file.map((status) => ({ status })),
      })),
    };
    await writeFile(results, JSON.stringify(report));
  }
  return new Promise((resolve) => {
    const args = [SUMMARY, results, outcomes, String(code)];
    execFile(process.execPath, args, (error, stdout) => {
      resolve([stdout.trimEnd().split('\n').at(-1), Number(error?.code ?? 0)]);
    });
  });
}

test.each([
  ['all well', { tests: [['passed', 'passed'], ['passed']] }, '4 passed, 0 failed', 0],
  ['a failed test', { tests: [['passed', 'failed']], code: 1 }, '2 passed, 1 failed', 1],
  [
    'a failed check',
    { tests: [['passed']], checks: ['passed', 'failed'] },
    '2 passed, 1 failed',
    1,
  ],
  ['a file that cannot be loaded', { tests: [['passed'], []], code: 1 }, '2 passed, 1 failed', 1],
  ['a leak after tests that passed', { tests: [['passed']], code: 1 }, '2 passed, 1 failed', 1],
  [
    'a leak beside a failed check',
    { tests: [['passed']], checks: ['failed'], code: 1 },
    '1 passed, 2 failed',
    1,
  ],
  ['no report at all', { code: 1 }, '1 passed, 1 failed', 1],
] as [string, Outcome, string, number][])('%s', async (_name, outcome, line, code) => {
  expect(await summary(outcome)).toEqual([line, code]);
});
