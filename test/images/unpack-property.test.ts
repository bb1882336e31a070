import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KeelsonError } from '../../src/base/index.ts';
import { type TarFixtureEntry, tar } from '../fixtures/tar.ts';
import { describeTree, unpackStack, withOverlay } from './layer-fixture.ts';
import { applyLayers, describeModel, ImpossibleEntry } from './layer-model.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'keelson-unpack-'));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

const name = fc.constantFrom('a', 'b', 'c');
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
const target = fc.oneof(
  path,
  path.map((to) => `/${to}`),
  path.map((to) => `../${to}`),
  fc.constantFrom('.', '..', '/', '../..'),
);
const mode = fc.constantFrom(0o644, 0o755, 0o700, 0o4755, 0o1777);
const id = fc.constantFrom(0, 1000, 65534);

const entry: fc.Arbitrary<TarFixtureEntry> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      path,
      type: fc.constant('file' as const),
      mode,
      uid: id,
      gid: id,
      content: fc.constantFrom('', 'x', 'yy'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ path, type: fc.constant('directory' as const), mode, uid: id, gid: id }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ path, type: fc.constant('symlink' as const), target, uid: id, gid: id }),
  },
  { weight: 1, arbitrary: fc.record({ path, type: fc.constant('link' as const), target: path }) },
  {
    weight: 1,
    arbitrary: fc.record({ path, type: fc.constant('fifo' as const), mode, uid: id, gid: id }),
  },
);
/** Deletions of names, and of all in a directory; none in what another deletes. */
const deletions = fc
  .uniqueArray(fc.record({ of: path, all: fc.boolean() }), {
    maxLength: 2,
    comparator: (a, b) => `${a.of}/`.startsWith(`${b.of}/`) || `${b.of}/`.startsWith(`${a.of}/`),
  })
  .map((list) =>
    list.map(
      ({ of, all }): TarFixtureEntry => ({
        path: all ? `${of}/.wh..wh..opq` : of.replace(/[^/]*$/, '.wh.$&'),
      }),
    ),
  );

/** A layer as tools write it: deletions first, each path once, directories before what is in them. */
const layer = fc
  .tuple(deletions, fc.uniqueArray(entry, { maxLength: 6, selector: ({ path: to }) => String(to) }))
  .map(([deleted, entries]) => [
    ...deleted,
    ...entries.sort((a, b) => rank(a) - rank(b) || (String(a.path) < String(b.path) ? -1 : 1)),
  ]);

/** Hard links last: their targets must be there. */
function rank({ type }: TarFixtureEntry): number {
  return type === 'link' ? 1 : 0;
}

const runs = Number(process.env['KEELSON_PROPERTY_RUNS'] ?? 150);

/** Whether small files are noted first, for several threads to write. */
const noted = fc.boolean();

test('layers, unpacked one by one and stacked by the kernel, show what applying them in order gives', async () => {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(layer, { minLength: 1, maxLength: 3 }),
      noted,
      async (layers, way) => {
        const expected = modelOf(layers);
        fc.pre(expected !== undefined);
        const here = join(root, String(run++));
        mkdirSync(here);
        const directories = await unpackStack(
          layers.map((entries) => tar(entries)),
          here,
          { noted: way },
        );
        const shown = await withOverlay(directories, here, describeTree);
        expect(shown).toEqual(expected);
        rmSync(here, { recursive: true });
      },
    ),
    { numRuns: runs },
  );
});

function modelOf(layers: TarFixtureEntry[][]): Record<string, string> | undefined {
  try {
    return describeModel(applyLayers(layers));
  } catch (error) {
    if (error instanceof ImpossibleEntry) return undefined;
    throw error;
  }
}

const wildName = fc.oneof(
  name,
  fc.constantFrom(
    '.',
    '..',
    '',
    '.wh.a',
    '.wh..wh..opq',
    '.wh.',
    '.wh..wh.plnk',
    '\xff\xfe',
    'x'.repeat(300),
  ),
);
const wildPath = fc.array(wildName, { maxLength: 5 }).map((names) => names.join('/'));
const wildEntry: fc.Arbitrary<TarFixtureEntry> = fc.record(
  {
    path: fc.oneof(
      wildPath,
      wildPath.map((to) => `/${to}`),
      wildPath.map((to) => `../../${to}`),
    ),
    type: fc.constantFrom('file', 'link', 'symlink', 'directory', 'fifo', 'character'),
    target: fc.oneof(
      target,
      wildPath,
      fc.constantFrom('../../../outside', '/../outside/secret', '../outside/secret'),
    ),
    content: fc.constantFrom('', 'evil'),
    mode,
  },
  { requiredKeys: ['path', 'type', 'target'] },
);

test('whatever the entries, nothing outside the layer is read or changed, and failures are explained', async () => {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(wildEntry, { maxLength: 6 }), { minLength: 1, maxLength: 3 }),
      fc.array(fc.record({ at: fc.nat(4095), value: fc.nat(255) }), { maxLength: 2 }),
      noted,
      async (layers, damage, way) => {
        const here = join(root, String(run++));
        mkdirSync(join(here, 'outside'), { recursive: true });
        writeFileSync(join(here, 'outside/secret'), 'untouched');
        const archives = layers.map((entries) => tar(entries));
        const last = archives.at(-1) ?? Buffer.alloc(0);
        for (const { at, value } of damage) last[at % last.length] = value;
        try {
          await unpackStack(archives, here, { noted: way });
        } catch (error) {
          expect(error).toBeInstanceOf(KeelsonError);
          expect((error as KeelsonError).code).toMatch(/^(INVALID_ARGUMENT|RESOURCE_EXHAUSTED)$/);
        }
        expect(readdirSync(here).filter((name) => !/^layer\d(\.blob)?$/.test(name))).toEqual([
          'outside',
        ]);
        expect(readdirSync(join(here, 'outside'))).toEqual(['secret']);
        expect(readFileSync(join(here, 'outside/secret'), 'utf8')).toBe('untouched');
        rmSync(here, { recursive: true });
      },
    ),
    { numRuns: runs * 2 },
  );
});
