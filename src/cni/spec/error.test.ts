import { expect, test } from 'vitest';
import { during, KeelsonError } from '../../base/index.ts';
import { CNI_ERROR, CniError, cniErrorOf, formatError } from './error.ts';

test('a CNI error says its message and details, and keeps a code for gRPC', () => {
  const error = new CniError(CNI_ERROR.TRY_AGAIN_LATER, 'no address', { details: 'range is full' });
  expect(error).toBeInstanceOf(KeelsonError);
  expect(error.message).toBe('no address: range is full');
  expect(error.code).toBe('UNAVAILABLE');
  expect(formatError(error, '1.0.0')).toEqual({
    cniVersion: '1.0.0',
    code: 11,
    msg: 'no address',
    details: 'range is full',
  });
});

test('what wraps a CNI error keeps its codes', () => {
  const inner = new CniError(CNI_ERROR.INVALID_CONFIG, 'no bridge');
  const outer = during('Cannot add "eth0"', during('Cannot do this', inner));
  expect(outer.code).toBe('FAILED_PRECONDITION');
  expect(cniErrorOf(outer)).toBe(inner);
  expect(formatError(outer, '0.4.0')).toEqual({
    cniVersion: '0.4.0',
    code: 7,
    msg: 'Cannot add "eth0": Cannot do this: no bridge',
  });
});

test('other errors are internal', () => {
  expect(cniErrorOf(new Error('x'))).toBeUndefined();
  expect(formatError(new Error('x'), '1.1.0')).toEqual({
    cniVersion: '1.1.0',
    code: 999,
    msg: 'x',
  });
});
