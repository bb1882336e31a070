import { mkdtemp, readFile, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { codeOf, during, expectValue, ifExists, KeelsonError } from './errors.ts';

test('a message names the action, the reason and the hint', () => {
  const details = { reason: 'registry answered 404', hint: 'check the tag' };
  const error = new KeelsonError('NOT_FOUND', 'Cannot pull image "x"', details);
  expect(error.message).toBe('Cannot pull image "x": registry answered 404 (check the tag)');
});

test('without a reason the cause is the reason', () => {
  const error = new KeelsonError('INTERNAL', 'Cannot mount', { cause: new Error('EIO') });
  expect(error.message).toBe('Cannot mount: EIO');
});

test('a bare action needs no colon', () => {
  expect(new KeelsonError('INTERNAL', 'Cannot mount').message).toBe('Cannot mount');
});

test.each([
  ['a KeelsonError', new KeelsonError('ABORTED', 'x'), 'ABORTED'],
  ['a timeout', new DOMException('late', 'TimeoutError'), 'DEADLINE_EXCEEDED'],
  ['an abort', new DOMException('stop', 'AbortError'), 'CANCELLED'],
  ['a full disk', Object.assign(new Error(), { code: 'ENOSPC' }), 'RESOURCE_EXHAUSTED'],
  ['a full quota', Object.assign(new Error(), { code: 'EDQUOT' }), 'RESOURCE_EXHAUSTED'],
  ['any other error', new TypeError('bug'), 'UNKNOWN'],
  ['what is no error', 'text', 'UNKNOWN'],
])('the code of %s is found', (_what, error, code) => expect(codeOf(error)).toBe(code));

test('wrapping keeps the code and the cause', () => {
  const cause = new KeelsonError('NOT_FOUND', 'There is no image "x"');
  const wrapped = during('Cannot create container "c"', cause, 'pull it first');
  expect(wrapped).toMatchObject({ code: 'NOT_FOUND', cause, hint: 'pull it first' });
  expect(wrapped.message).toBe(
    'Cannot create container "c": There is no image "x" (pull it first)',
  );
});

test('a file that is not there is undefined, any other failure is one', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-errors-'));
  try {
    expect(await ifExists(readFile(join(directory, 'nothing')))).toBeUndefined();
    await expect(ifExists(readFile(directory))).rejects.toMatchObject({ code: 'EISDIR' });
  } finally {
    await rmdir(directory);
  }
});

test('a missing value is named', () => {
  expect(expectValue(0, 'number')).toBe(0);
  expect(() => expectValue(undefined, 'pid of conmon')).toThrow('Missing pid of conmon');
});
