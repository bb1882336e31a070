import { expect, test } from 'vitest';
import type { RuntimeConfig } from './runtime-config.ts';
import { parseRuntimeConfig, runtimeConfigText } from './runtime-config-text.ts';

test('numbers of 64 bits are written and read without loss', () => {
  const config = {
    process: { rlimits: [{ type: 'RLIMIT_CORE', hard: 18446744073709551615n, soft: 1024 }] },
    linux: { resources: { memory: { limit: 64 << 20 } } },
  } as unknown as RuntimeConfig;
  const text = runtimeConfigText(config);
  expect(text).toContain('"hard":18446744073709551615,"soft":1024');
  expect(parseRuntimeConfig(text)).toEqual(config);
});
