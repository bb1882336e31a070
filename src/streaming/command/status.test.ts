import { expect, test } from 'vitest';
import { KeelsonError } from '../../base/index.ts';
import { exitReport, failureReport } from './status.ts';

test.each([4, 5] as const)('version %i reports in JSON', (version) => {
  expect(exitReport(version, { code: 0 })).toBe('{"status":"Success"}');
  expect(exitReport(version, undefined)).toBe('{"status":"Success"}');
  expect(JSON.parse(exitReport(version, { code: 137 }))).toEqual({
    status: 'Failure',
    message: 'command terminated with non-zero exit code: exit code 137',
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: '137' }] },
  });
});

test.each([1, 2, 3] as const)('version %i reports failures in plain text', (version) => {
  expect(exitReport(version, { code: 0 })).toBe('');
  expect(exitReport(version, { code: 1 })).toContain('exit code 1');
  expect(failureReport(version, new Error('no such container'))).toBe('no such container');
});

test('a failure carries the code that a client may know', () => {
  const gone = new KeelsonError('NOT_FOUND', 'Cannot exec', { reason: 'container is gone' });
  expect(JSON.parse(failureReport(4, gone))).toEqual({
    status: 'Failure',
    message: 'Internal error occurred: Cannot exec: container is gone',
    reason: 'InternalError',
    details: { causes: [{ message: 'Cannot exec: container is gone' }] },
    code: 404,
  });
  expect(JSON.parse(failureReport(4, 'text')).code).toBe(500);
});
