import { describe, expect, test } from 'vitest';
import { formatReference, isShortName, parseReference, repositoryOf } from './reference.ts';

const DIGEST = `sha256:${'a1'.repeat(32)}`;

describe('references', () => {
  test.each([
    ['busybox', 'docker.io/library/busybox:latest'],
    ['busybox:1.36', 'docker.io/library/busybox:1.36'],
    ['team/app', 'docker.io/team/app:latest'],
    ['docker.io/busybox', 'docker.io/library/busybox:latest'],
    ['index.docker.io/library/busybox', 'docker.io/library/busybox:latest'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/app', 'localhost:5000/app:latest'],
    ['registry.k8s.io/pause:3.10', 'registry.k8s.io/pause:3.10'],
    ['Example.COM/app', 'Example.COM/app:latest'],
    ['HOST/app', 'HOST/app:latest'],
    ['[::1]:5000/app:v1', '[::1]:5000/app:v1'],
    ['127.0.0.1:443/a/b/c', '127.0.0.1:443/a/b/c:latest'],
    [`app@${DIGEST}`, `docker.io/library/app@${DIGEST}`],
    [`app:1@${DIGEST}`, `docker.io/library/app:1@${DIGEST}`],
    ['a__b/c--d.e_f', 'docker.io/a__b/c--d.e_f:latest'],
    ['localhost:5000', 'docker.io/library/localhost:5000'],
    [`x:${'t'.repeat(128)}`, `docker.io/library/x:${'t'.repeat(128)}`],
  ])('%s', (text, full) => {
    expect(formatReference(parseReference(text))).toBe(full);
    expect(formatReference(parseReference(full))).toBe(full);
  });

  test.each([
    '',
    'Busybox',
    'a//b',
    'a/',
    '/a',
    '../a',
    'a/../b',
    'a:',
    'a:b/c:',
    'a@',
    'a@sha256:12',
    `a@sha256:${'A'.repeat(64)}`,
    `a:${'t'.repeat(129)}`,
    'a b',
    'a\nb',
    '-a',
    'a..b',
    'host:port/a',
    'http://host/a',
    `h.io/${'x'.repeat(256)}`,
    'f'.repeat(64),
    DIGEST,
  ])('%j is refused', (text) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  test('the repository', () => {
    expect(repositoryOf(parseReference('busybox'))).toBe('docker.io/library/busybox');
  });

  test.each([
    ['busybox', true],
    ['team/app:1', true],
    ['docker.io/app', false],
    ['localhost/app', false],
    ['host:5000/app', false],
  ])('%s short: %s', (text, short) => {
    expect(isShortName(text)).toBe(short);
  });
});
