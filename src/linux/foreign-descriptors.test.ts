import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { filesWrittenBy, isSameFile, makeAppending } from './foreign-descriptors.ts';
import { exitOf, start } from './start.ts';

test('another process writes at the end of a file that was cut under it', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-descriptors-'));
  const path = join(directory, 'file');
  const script = `exec 5>${path}; echo one >&5; echo ready; read line; echo two >&5`;
  const child = start('/bin/sh', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(child.stdout!, 'data');
    const found = await filesWrittenBy(child.pid!);
    const open = found.find(({ name }) => name === path)!;
    expect(open.descriptor).toBe(5);
    expect(isSameFile(open.file, await stat(path))).toBe(true);
    const other = await stat('/proc/self/exe');
    expect(makeAppending({ ...open, file: other })).toBe(false);
    expect(makeAppending(open)).toBe(true);
    await truncate(path, 0);
    child.stdin!.end('\n');
    await exitOf(child, '/bin/sh');
    expect(await readFile(path, 'utf8')).toBe('two\n');
    expect(await filesWrittenBy(child.pid!)).toEqual([]);
    expect(() => makeAppending(open)).toThrow('ESRCH');
  } finally {
    child.kill();
    await rm(directory, { recursive: true });
  }
});
