import { expect, test } from 'vitest';
import { TokenTable } from './tokens.ts';

test('a token works once', () => {
  const tokens = new TokenTable<string>(10, 60_000);
  const token = tokens.issue('x');
  expect(tokens.find(token)).toBe('x');
  expect(tokens.redeem(token)).toBe('x');
  expect(tokens.redeem(token)).toBeUndefined();
});

test('a token has 128 bits, in characters that fit into a path', () => {
  const tokens = new TokenTable<string>(10, 60_000);
  const token = tokens.issue('x');
  expect(token).toMatch(/^[A-Za-z0-9_-]{22}$/);
  expect(Buffer.from(token, 'base64url').length).toBe(16);
  expect(tokens.issue('x')).not.toBe(token);
});

test('a token expires', () => {
  let now = 0;
  const tokens = new TokenTable<string>(10, 60_000, () => now);
  const token = tokens.issue('x');
  now = 59_999;
  expect(tokens.find(token)).toBe('x');
  now = 60_000;
  expect(tokens.redeem(token)).toBeUndefined();
});

test('tokens are bounded; used and expired ones make room', () => {
  let now = 0;
  const tokens = new TokenTable<number>(2, 60_000, () => now);
  const first = tokens.issue(1);
  tokens.issue(2);
  expect(() => tokens.issue(3)).toThrow(expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }));
  tokens.redeem(first);
  tokens.issue(3);
  expect(() => tokens.issue(4)).toThrow('2 URLs wait for their client');
  now = 60_000;
  tokens.issue(4);
});
