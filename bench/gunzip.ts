/**
 * Compares ways to decompress a gzip layer: ISA-L and the zlib of Node, as the daemon uses
 * them, with the programs unpigz and gzip fed through pipes. Time and CPU, programs included.
 *
 *     sh scripts/with-setup.sh --bench bench/gunzip.ts [--rounds 5] [--megabytes 200]
 */
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { Decompressor, type Gunzip } from '../src/oci/images/decompress.ts';
import { cpuSeconds } from './process-usage.ts';
import { layerOfHost } from './pull-images.ts';
import { median } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    megabytes: { type: 'string', default: '200' },
  },
});

/** All read in pieces of the size that the daemon uses. */
const READ_SIZE = 1024 * 1024;

const ways: Record<string, (path: string) => Promise<number>> = {
  isal: (path) => throughDecompressor('auto', path),
  zlib: (path) => throughDecompressor('zlib', path),
  unpigz: (path) => throughProgram('unpigz', ['-c'], path),
  gzip: (path) => throughProgram('gzip', ['-dc'], path),
};

async function throughDecompressor(gunzip: Gunzip, path: string): Promise<number> {
  let bytes = 0;
  const decompressor = new Decompressor(gunzip, (chunk) => {
    bytes += chunk.length;
  });
  const pieces = createReadStream(path, { highWaterMark: READ_SIZE }) as AsyncIterable<Buffer>;
  for await (const piece of pieces) await decompressor.write(piece);
  await decompressor.end();
  return bytes;
}

async function throughProgram(program: string, args: string[], path: string): Promise<number> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve, reject) => {
    child.once('exit', resolve);
    child.once('error', reject);
  });
  createReadStream(path, { highWaterMark: READ_SIZE }).pipe(child.stdin);
  const bytes = await drain(child.stdout);
  await ended;
  return bytes;
}

async function drain(stream: Readable): Promise<number> {
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) bytes += chunk.length;
  return bytes;
}

async function cpu(): Promise<number> {
  const { own, children } = await cpuSeconds('self');
  return own + children;
}

const directory = await mkdtemp(join(tmpdir(), 'keelson-bench-'));
try {
  const path = join(directory, 'layer.gz');
  await writeFile(path, gzipSync(layerOfHost(Number(options.megabytes) * 1e6)));
  const taken = Object.keys(ways).map((name) => ({ name, seconds: [0], cpu: [0], bytes: 0 }));
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const way of taken) {
      const [start, before] = [performance.now(), await cpu()];
      way.bytes = (await ways[way.name]?.(path)) ?? 0;
      const now = { seconds: (performance.now() - start) / 1000, cpu: (await cpu()) - before };
      if (round === 0) [way.seconds, way.cpu] = [[], []];
      else {
        way.seconds.push(now.seconds);
        way.cpu.push(now.cpu);
      }
    }
  }
  for (const { name, seconds, cpu: used, bytes } of taken) {
    const numbers = `${median(seconds).toFixed(2)} s, CPU ${median(used).toFixed(2)} s`;
    console.log(`${name.padEnd(8)} ${numbers}, ${(bytes / 1e6).toFixed(0)} MB`);
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
