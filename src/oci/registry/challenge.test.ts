import { expect, test } from 'vitest';
import { parseChallenges } from './challenge.ts';

test.each<[string | string[] | undefined, unknown[]]>([
  [undefined, []],
  ['', []],
  ['Basic realm="x"', [{ scheme: 'basic', parameters: { realm: 'x' } }]],
  [
    'Bearer realm="https://auth.io/token",service="reg",scope="repository:a/b:pull,push"',
    [
      {
        scheme: 'bearer',
        parameters: {
          realm: 'https://auth.io/token',
          service: 'reg',
          scope: 'repository:a/b:pull,push',
        },
      },
    ],
  ],
  [
    'Basic realm="a", Bearer realm=b , error="invalid_token"',
    [
      { scheme: 'basic', parameters: { realm: 'a' } },
      { scheme: 'bearer', parameters: { realm: 'b', error: 'invalid_token' } },
    ],
  ],
  [
    ['Negotiate', 'BASIC REALM="quoted \\" mark"'],
    [
      { scheme: 'negotiate', parameters: {} },
      { scheme: 'basic', parameters: { realm: 'quoted " mark' } },
    ],
  ],
  ['Bearer realm="unterminated', [{ scheme: 'bearer', parameters: { realm: '"unterminated' } }]],
  [')(', []],
])('%j', (header, expected) => {
  expect(parseChallenges(header)).toEqual(expected);
});
