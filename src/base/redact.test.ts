import { expect, test } from 'vitest';
import { redactedJson } from './redact.ts';

test('what is named like a secret is hidden, however deep', () => {
  const config = {
    name: 'net',
    kubernetes: { k8s_auth_token: 'abc', url: 'https://me:pw@10.0.0.1/x' },
    list: [{ password: 'abc', user: 'me' }, { clientSecret: { nested: 'abc' } }],
    runtimeConfig: { 'io.kubernetes.cri.pod-annotations': { note: 'abc' } },
    API_KEY: 'abc',
    token: null,
  };
  const text = redactedJson(config);
  expect(text).not.toMatch(/abc|pw@/);
  expect(JSON.parse(text)).toMatchObject({
    name: 'net',
    kubernetes: { k8s_auth_token: '(hidden)', url: 'https://10.0.0.1/x' },
    list: [{ password: '(hidden)', user: 'me' }, { clientSecret: '(hidden)' }],
    token: null,
  });
});

test('a long text is cut, and nothing is nothing', () => {
  expect(redactedJson({ long: 'x'.repeat(5000) })).toHaveLength(2048);
  expect(redactedJson(undefined)).toBe('');
});
