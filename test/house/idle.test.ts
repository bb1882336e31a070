import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const DAEMON = new URL('../../src/daemon.ts', import.meta.url).href;

/** Parts that only some daemons use, and those not from their start. */
const LATER = ['undici', 'tar-stream', '@opentelemetry/sdk-trace'];

test('a daemon that only starts loads nothing that it may never use', async () => {
  const program = `
    import { createRequire } from 'node:module';
    await import('${DAEMON}');
    console.log(Object.keys(createRequire('${DAEMON}').cache).join('\\n'));`;
  const args = ['--input-type=module', '--eval', program];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const packages = stdout
    .split('\n')
    .map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]);
  expect(packages).toContain('@grpc/grpc-js');
  for (const name of LATER) expect(packages).not.toContain(name);
});
