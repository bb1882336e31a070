import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { defaultConfigToml, describe, loadConfig, settings } from './index.ts';

it('writes a default file that changes nothing, with its comments or without', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-config-'));
  try {
    const file = join(directory, 'config.toml');
    await writeFile(file, '');
    const plain = await loadConfig({ file });
    await writeFile(file, defaultConfigToml());
    expect(await loadConfig({ file })).toEqual(plain);
    // Each key that is commented out is written as it would be used.
    await writeFile(file, defaultConfigToml().replace(/^# (\w+ = )/gm, '$1'));
    expect(await loadConfig({ file })).toMatchObject({ images: { platform: 'linux/arm64' } });
  } finally {
    await rm(directory, { recursive: true });
  }
});

it('is documented key by key, with default and variable', async () => {
  const text = await readFile(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `([^`]+)` \| (.*) \| (.*) \| (.*) \|$/gm)];
  expect(
    rows.map(([, key, fallback, variable, description]) => {
      return { key, fallback, variable, description };
    }),
  ).toEqual(
    settings().map((setting) => ({
      key: setting.key,
      fallback: setting.default === undefined ? '' : `\`${JSON.stringify(setting.default)}\``,
      variable: setting.variable === undefined ? '' : `\`${setting.variable}\``,
      description: describe(setting),
    })),
  );
});
