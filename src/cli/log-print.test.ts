import { appendFile, mkdir, mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LogOptions, printLog } from './log-print.ts';

class Kept extends Writable {
  text = '';
  #changed = Promise.withResolvers<void>();

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('latin1');
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
    done();
  }

  async until(text: string): Promise<void> {
    while (!this.text.includes(text)) await this.#changed.promise;
  }
}

let directory: string;
let path: string;
let stdout: Kept;
let stderr: Kept;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-logs-'));
  path = join(directory, '0.log');
  [stdout, stderr] = [new Kept(), new Kept()];
});

afterEach(() => rm(directory, { recursive: true }));

function show(options: Partial<LogOptions> = {}): Promise<void> {
  return printLog(path, {
    tail: undefined,
    since: undefined,
    follow: false,
    timestamps: false,
    ended: async () => true,
    poll: 20,
    signal: new AbortController().signal,
    stdout,
    stderr,
    ...options,
  });
}

function line(text: string, { tag = 'F', stream = 'stdout', second = 0 } = {}): string {
  return `2024-05-01T12:00:${String(second).padStart(2, '0')}.5Z ${stream} ${tag} ${text}\n`;
}

describe('a log at rest', () => {
  it('tells the streams apart and joins pieces of lines', async () => {
    await writeFile(
      path,
      line('one') +
        line('tw', { tag: 'P' }) +
        line('err', { stream: 'stderr' }) +
        line('o') +
        line('open', { tag: 'P' }),
    );
    await show();
    expect(stdout.text).toBe('one\ntwo\nopen');
    expect(stderr.text).toBe('err\n');
  });

  it('shows times once for each line', async () => {
    await writeFile(path, line('a', { tag: 'P' }) + line('b') + line('c', { second: 7 }));
    await show({ timestamps: true });
    expect(stdout.text).toBe('2024-05-01T12:00:00.5Z ab\n2024-05-01T12:00:07.5Z c\n');
  });

  it('begins at a time', async () => {
    await writeFile(path, line('early', { second: 1 }) + line('late', { second: 5 }));
    await show({ since: Date.parse('2024-05-01T12:00:03Z') });
    expect(stdout.text).toBe('late\n');
  });

  it('shows what is no entry as it is', async () => {
    await writeFile(path, `odd\n${line('x')}`);
    await show();
    expect(stdout.text).toBe('odd\nx\n');
  });

  it('fails if there is no log', async () => {
    await expect(show()).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('the end of a log', () => {
  it.each([
    [0, ''],
    [1, 'c\n'],
    [2, 'bbb\nc\n'],
    [3, 'a\nbbb\nc\n'],
    [9, 'a\nbbb\nc\n'],
  ])('shows %i lines, pieces of one counted once', async (tail, text) => {
    await writeFile(
      path,
      line('a') + line('b', { tag: 'P' }) + line('b', { tag: 'P' }) + line('b') + line('c'),
    );
    await show({ tail });
    expect(stdout.text).toBe(text);
  });

  it('counts a line that is not whole yet', async () => {
    await writeFile(path, line('a') + line('b') + line('c', { tag: 'P' }));
    await show({ tail: 1 });
    expect(stdout.text).toBe('c');
  });

  it('finds lines across the blocks that it reads', async () => {
    const lines = Array.from({ length: 5000 }, (_, index) => line(`${index} ${'x'.repeat(50)}`));
    await writeFile(path, lines.join(''));
    await show({ tail: 3000 });
    expect(stdout.text.split('\n').length).toBe(3001);
    expect(stdout.text.startsWith('2000 x')).toBe(true);
  });
});

describe('following', () => {
  /** Starts to follow; `end` says that the container ended and waits for the rest. */
  function follow(options: Partial<LogOptions> = {}) {
    let ended = false;
    let asked = 0;
    let onAsk = () => {};
    const done = show({
      follow: true,
      ended: async () => {
        asked++;
        onAsk();
        return ended;
      },
      ...options,
    });
    return {
      done,
      /** Resolves when the file has been looked at anew. */
      look: () => {
        const before = asked;
        const { promise, resolve } = Promise.withResolvers<void>();
        // The first question may belong to a look that was under way.
        onAsk = () => asked > before + 2 && resolve();
        return promise;
      },
      end: () => {
        ended = true;
        return done;
      },
    };
  }

  it('shows what is written later, until the container ends', async () => {
    await writeFile(path, line('a'));
    const { end } = follow();
    await stdout.until('a\n');
    await appendFile(path, line('b').slice(0, 20));
    await appendFile(path, line('b').slice(20));
    await stdout.until('b\n');
    await appendFile(path, line('last'));
    await end();
    expect(stdout.text).toBe('a\nb\nlast\n');
  });

  it('goes on in the new file when the log is rotated, and loses nothing of the old one', async () => {
    await writeFile(path, line('a'));
    const { end } = follow();
    await stdout.until('a\n');
    for (let round = 0; round < 5; round++) {
      await rename(path, `${path}.${round}`);
      await appendFile(`${path}.${round}`, line(`old ${round}`));
      await writeFile(path, line(`new ${round}`));
      await stdout.until(`new ${round}\n`);
    }
    await end();
    const rounds = [0, 1, 2, 3, 4].map((round) => `old ${round}\nnew ${round}\n`);
    expect(stdout.text).toBe(`a\n${rounds.join('')}`);
  });

  it('begins anew when the log was emptied', async () => {
    await writeFile(path, line('a long first line'));
    const { end, look } = follow();
    await stdout.until('line\n');
    await truncate(path, 0);
    await look();
    await appendFile(path, line('b'));
    await stdout.until('b\n');
    await end();
    expect(stdout.text).toBe('a long first line\nb\n');
  });

  it('waits for the log of a container that was not started yet', async () => {
    path = join(directory, 'later', '0.log');
    const { end } = follow();
    await mkdir(join(directory, 'later'));
    await writeFile(path, line('a'));
    await stdout.until('a\n');
    await end();
    expect(stdout.text).toBe('a\n');
  });

  it('ends at once for a container that has ended', async () => {
    await writeFile(path, line('a') + line('b'));
    await show({ follow: true, tail: 1 });
    expect(stdout.text).toBe('b\n');
  });

  it('ends when interrupted', async () => {
    await writeFile(path, line('a'));
    const interrupt = new AbortController();
    const { done } = follow({ signal: interrupt.signal });
    await stdout.until('a\n');
    interrupt.abort(new Error('interrupted'));
    await expect(done).rejects.toThrow('interrupted');
  });
});
