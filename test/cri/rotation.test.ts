import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { LineCutter, parseLogEntry } from '../../src/cli/log-lines.ts';
import { keelson } from '../cli/fake-cri.ts';
import { containerConfig, runContainer, runPod, waitFor } from '../harness/index.ts';
import { criSuite, ended, shell } from './suite.ts';

// `npm run bench:logs` does the same with a gigabyte.
const MEGABYTES = Number(process.env['LOG_MEGABYTES'] ?? 60);
const ROTATIONS = 50;
/** What a rotation lets be written: one block at its start, one now and then while it lasts, one after it. */
const BLOCKS_EACH = 6;
const BLOCKS = BLOCKS_EACH * ROTATIONS + 10;
/** Of a line, with its line break. */
const BYTES = 1000;
const LINES = Math.ceil((MEGABYTES * 1e6) / BYTES / BLOCKS);
const FILLING = 'x'.repeat(BYTES - 11);

const suite = criSuite();

/**
 * Writes lines that are all different, in blocks: as fast as it can, but no more than three
 * blocks ahead of the pace, so that there is output at each rotation.
 */
const WRITER = `
  block=0
  while [ $block -lt ${BLOCKS} ]; do
    while [ $block -gt $(($(cat /pace/blocks) + 3)) ]; do usleep 1000; done
    awk -v first=$((block * ${LINES})) 'BEGIN {
      for (i = 0; i < ${BYTES - 11}; i++) x = x "x"
      for (i = 0; i < ${LINES}; i++) printf "%09d %s\\n", first + i, x
    }'
    block=$((block + 1))
  done`;

function expectedHash(): string {
  const hash = createHash('sha256');
  for (let n = 0; n < LINES * BLOCKS; n++) {
    hash.update(`${String(n).padStart(9, '0')} ${FILLING}\n`);
  }
  return hash.digest('hex');
}

/** Writes in pieces that end in the middle of a line nearly always. */
const UNALIGNED = `(${WRITER}) | dd obs=4093 2>/dev/null`;

/** What the entries of log files add up to, in the order of the files. */
async function contentOf(paths: readonly string[]) {
  const hash = createHash('sha256');
  let partial = false;
  let splitAcross = 0;
  let joined = 0;
  for (const path of paths) {
    const cutter = new LineCutter();
    if (partial) splitAcross++;
    let inTwo = false;
    for await (const chunk of createReadStream(path)) {
      for (const line of cutter.push(chunk as Buffer)) {
        const entry = parseLogEntry(line);
        if (entry === undefined) throw new Error(`${path} holds no log entry: ${line}`);
        hash.update(entry.content);
        inTwo = partial;
        partial = entry.partial;
        if (!partial) hash.update('\n');
      }
    }
    // An entry is never cut: a file ends with a whole one.
    expect(cutter.rest(), path).toBeUndefined();
    if (inTwo && !partial) joined++;
  }
  return { hash: hash.digest('hex'), splitAcross, joined };
}

test.each([
  { writer: 'lines', script: WRITER, leastJoined: 0 },
  { writer: 'unaligned blocks', script: UNALIGNED, leastJoined: ROTATIONS / 2 },
])(
  `${ROTATIONS} rotations of ${MEGABYTES} MB of $writer lose, change and split no line, nor for those who follow`,
  async ({ writer, script, leastJoined }) => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon);
    const pace = await mkdtemp(join(daemon.directory, 'pace-'));
    const allow = (blocks: number) => writeFile(join(pace, 'blocks'), `${blocks}\n`);
    await allow(0);
    const config = containerConfig(image, {
      ...shell(script),
      metadata: { name: 'talker' },
      // Its lines should go on to come when the machine is busy.
      linux: { resources: { cpuShares: 10_240n } },
      mounts: [{ hostPath: pace, containerPath: '/pace', readonly: true }],
    });
    const containerId = await runContainer(daemon, pod, config);
    const path = join(pod.config.logDirectory, config.logPath);
    const followed = createHash('sha256');
    let heard = 0;
    const stdout = new Writable({
      write(chunk: Buffer, _encoding, done) {
        followed.update(chunk);
        heard += chunk.length;
        done();
      },
    });
    const following = keelson(['-r', daemon.uri, 'logs', '-f', containerId], { stdout });
    const files: string[] = [];
    await waitFor('the follower', () => heard > 0, 20_000);
    const start = performance.now();
    for (let count = 1; count <= ROTATIONS; count++) {
      await waitFor('a block', async () => (await stat(path)).size >= LINES * BYTES, 60_000);
      files.push(`${path}.${String(count).padStart(3, '0')}`);
      const allowed = BLOCKS_EACH * (count - 1);
      await allow(allowed + 1);
      await rename(path, files.at(-1)!);
      const reopened = daemon.runtime.reopenContainerLog({ containerId });
      for (let more = 2; more < BLOCKS_EACH; more++) {
        if ((await Promise.race([reopened, sleep(100, 'pending')])) !== 'pending') break;
        await allow(allowed + more);
      }
      await reopened;
      await allow(BLOCKS_EACH * count);
    }
    await allow(BLOCKS);
    expect((await ended(daemon, containerId)).exitCode).toBe(0);
    const seconds = (performance.now() - start) / 1000;
    const { hash, splitAcross, joined } = await contentOf([...files, path]);
    const expected = expectedHash();
    expect(hash).toBe(expected);
    expect((await following).code).toBe(0);
    expect(followed.digest('hex')).toBe(expected);
    expect(splitAcross).toBe(0);
    expect(joined).toBeGreaterThanOrEqual(leastJoined);
    const rate = (MEGABYTES / seconds).toFixed(0);
    console.log(
      `${MEGABYTES} MB in ${writer}, ${ROTATIONS} rotations, ${rate} MB/s; ${joined} lines were under way`,
    );
  },
  600_000,
);
