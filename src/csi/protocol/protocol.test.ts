import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { during, KeelsonError } from '../../base/index.ts';
import { CsiError, outcomeOf, redact, retryOf, withoutSecrets } from './index.ts';

const PROTO = new URL('../../../proto/csi/v1/csi.proto', import.meta.url);

test('the fields that the interface marks as secret are those called "secrets"', () => {
  const text = readFileSync(PROTO, 'utf8');
  const marked = [...text.matchAll(/^.* (\w+) = \d+ \[.*csi_secret.*$/gm)].map(([, name]) => name);
  const named = [...text.matchAll(/ secrets = \d+/g)];
  expect(marked.length).toBe(named.length);
  expect(new Set(marked)).toEqual(new Set(['secrets']));
});

test('messages for logs have no secrets, tokens or mount options', () => {
  const message = {
    volumeId: 'v1',
    capacityBytes: 5n,
    secrets: { user: 'me', password: 'wall' },
    volumeContext: { plain: 'yes', 'csi.storage.k8s.io/serviceAccount.tokens': 'wall' },
    volumeCapability: { accessType: { $case: 'mount', value: { mountFlags: ['password=wall'] } } },
  };
  const logged = withoutSecrets(message);
  expect(JSON.stringify(logged)).not.toContain('wall');
  expect(logged).toMatchObject({
    volumeId: 'v1',
    capacityBytes: '5',
    secrets: { user: '***stripped***', password: '***stripped***' },
    volumeContext: { plain: 'yes' },
  });
});

test('of secrets that overlap nothing is left', () => {
  const request = { secrets: { a: 'abc', b: 'abcdef', c: '' } };
  expect(redact('x abcdef y abc z', request)).toBe('x ***stripped*** y ***stripped*** z');
});

test('what an error means is told through those around it', () => {
  const final = new CsiError('NOT_FOUND', 'x', true);
  expect(outcomeOf(during('stage', final))).toBe('failed');
  expect(outcomeOf(during('stage', new CsiError('NOT_FOUND', 'x', false)))).toBe('unknown');
  expect(outcomeOf(new KeelsonError('NOT_FOUND', 'of our own'))).toBe('unknown');
  expect(retryOf(during('stage', new CsiError('UNIMPLEMENTED', 'x', true)))).toBe('never');
  expect(retryOf(new Error('x'))).toBe('back-off');
});
