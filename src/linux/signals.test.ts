import { expect, test } from 'vitest';
import { signalNumber } from './signals.ts';

test.each([
  ['SIGTERM', 15],
  ['TERM', 15],
  ['sigterm', 15],
  [' SIGKILL ', 9],
  ['15', 15],
  ['64', 64],
  ['SIGCLD', 17],
  ['SIGPOLL', 29],
  ['SIGIOT', 6],
  ['SIGSTKFLT', 16],
  ['SIGSYS', 31],
  ['SIGRTMIN', 34],
  ['SIGRTMIN+3', 37],
  ['RTMIN+30', 64],
  ['SIGRTMAX', 64],
  ['RTMAX-30', 34],
])('%s is signal %i', (name, number) => expect(signalNumber(name)).toBe(number));

test.each([
  ...['', '0', '65', '-1', '1.5', '0x9', '9999999999', 'SIGSIGTERM', 'SIGNOTHING', 'constructor'],
  ...['RTMIN-1', 'RTMIN+31', 'RTMAX+1', 'RTMAX-31', 'RTMIN+', 'RTMIN+1+1', 'TERM KILL'],
])('%j is no signal', (name) => {
  expect(() => signalNumber(name)).toThrow(`Unknown signal "${name}"`);
});
