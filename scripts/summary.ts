/**
 * summary.ts RESULTS CHECKS CODE: adds up vitest's JSON report and the checks before it,
 * writes "N passed, N failed" as the last line and ends with 1 if anything failed. CODE is
 * vitest's exit code, which alone tells of leaks and of errors outside of tests.
 */
import { existsSync, readFileSync } from 'node:fs';

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  testResults: { status: string; assertionResults: { status: string }[] }[];
}

const [results = '', checks = '', code = '1'] = process.argv.slice(2);
const outcomes = readFileSync(checks, 'utf8').trimEnd().split('\n');
let passed = outcomes.filter((outcome) => outcome === 'passed').length;
let failed = outcomes.length - passed;

if (existsSync(results)) {
  const report = JSON.parse(readFileSync(results, 'utf8')) as Report;
  const inTests = failed;
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  // A file that cannot be loaded has no failed test.
  failed += report.testResults.filter(
    (file) =>
      file.status === 'failed' &&
      !file.assertionResults.some((assertion) => assertion.status === 'failed'),
  ).length;
  if (code !== '0' && failed === inTests) failed++;
} else {
  failed++;
}

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
