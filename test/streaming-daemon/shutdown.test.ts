import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { keelson } from '../cli/fake-cri.ts';
import { criSuite, execIn, shell } from '../cri/suite.ts';
import { containerConfig, output, runContainer, runPod, waitFor } from '../harness/index.ts';
import { CommandClient } from './command-client.ts';

const suite = criSuite();

test('a shutdown lets short sessions finish, ends long ones with a word, and no container', async () => {
  const { daemon } = suite;
  const pod = await runPod(daemon);
  const config = { ...shell('while :; do read x && echo "got $x"; done'), stdin: true };
  const containerId = await runContainer(daemon, pod, containerConfig(suite.image, config));
  const exec = (script: string) =>
    CommandClient.exec(daemon, { containerId, cmd: ['sh', '-c', script] });
  const long = await exec('echo here; exec sleep 91001');
  const short = await exec('echo here; sleep 1; echo done; exit 5');
  const attached = await CommandClient.attach(daemon, { containerId, stdin: true });
  await Promise.all([long.shows('here'), short.shows('here')]);
  const [code] = await Promise.all([daemon.stop(), once(long.socket, 'close')]);
  expect(code).toBe(0);
  expect(await short.exitCode()).toBe(5);
  expect(short.stdout).toBe('here\ndone\n');
  expect((await long.status()).message).toContain('shutting down');
  expect((await attached.status()).message).toContain('shutting down');
  await daemon.start();
  expect(await execIn(daemon, containerId, 'ps | grep "[s]leep 91001" || true')).toBe('');
  const again = await CommandClient.attach(daemon, { containerId, stdin: true });
  await again.type('word\n');
  await again.shows('got word');
  await again.vanish();
});

test('a crash ends what it was running for clients', async () => {
  const { daemon } = suite;
  const pod = await runPod(daemon);
  const containerId = await runContainer(daemon, pod, containerConfig(suite.image));
  for (const tty of [false, true]) {
    const cmd = ['sh', '-c', 'trap "" HUP; echo here; sleep 92001; sleep 92002'];
    const client = await CommandClient.exec(daemon, { containerId, cmd, tty });
    await client.shows('here');
    const synchronous = daemon.runtime
      .execSync({ containerId, cmd: ['sleep', '92003'] })
      .catch((error) => error);
    await waitFor('the command', () => execIn(daemon, containerId, 'ps | grep "[s]leep 92003"'));
    await daemon.kill9();
    await synchronous;
    await client.status().catch(() => {});
    await daemon.start();
    await waitFor(
      'the end of the commands',
      async () => (await execIn(daemon, containerId, 'ps | grep "[s]leep 9200" || true')) === '',
    );
    const files = await readdir(join(daemon.paths.state, 'exec')).catch(() => []);
    // The commands of this test itself may be under way.
    expect(files.length).toBeLessThanOrEqual(4);
  }
});

test('the address and port of streaming are configured', async () => {
  const { daemon } = suite;
  const pod = await runPod(daemon);
  const containerId = await runContainer(daemon, pod, containerConfig(suite.image));
  await daemon.stop();
  const free = await freePort();
  const args = ['--stream-address', '127.0.0.2', '--stream-port', String(free)];
  await daemon.start({ args });
  const { url } = await daemon.runtime.exec({ containerId, cmd: ['true'], stdout: true });
  expect(url).toMatch(new RegExp(`^http://127\\.0\\.0\\.2:${free}/exec/[\\w-]{22}$`));
  expect(await (await CommandClient.exec(daemon, { containerId, cmd: ['true'] })).exitCode()).toBe(
    0,
  );
  const elsewhere = connect(free, '127.0.0.1');
  const [error] = await once(elsewhere, 'error');
  expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  await daemon.restart();
});

test('streaming speaks TLS, and asks for certificates if told so', async () => {
  const { daemon } = suite;
  const pod = await runPod(daemon);
  const containerId = await runContainer(daemon, pod, containerConfig(suite.image));
  const file = (name: string) => join(daemon.directory, name);
  const [key, cert] = [file('key.pem'), file('cert.pem')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
  await output(
    'openssl',
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', key, '-out', cert, '-days', '1', ...subject],
  );
  const files = { KEELSON_STREAMING_TLS_CERT: cert, KEELSON_STREAMING_TLS_KEY: key };
  const exec = (...args: string[]) =>
    keelson(['-r', daemon.uri, ...args, 'exec', containerId, 'echo', 'hello']);
  await daemon.restart({ env: files });
  const { url } = await daemon.runtime.exec({ containerId, cmd: ['true'], stdout: true });
  expect(url).toMatch(/^https:/);
  expect((await exec('--tls-ca', cert)).stdout).toBe('hello\n');
  expect(await exec()).toMatchObject({ code: 125, stdout: '' });
  await daemon.restart({ env: { ...files, KEELSON_STREAMING_TLS_CLIENT_CA: cert } });
  const own = ['--tls-ca', cert, '--tls-cert', cert, '--tls-key', key];
  expect((await exec(...own)).stdout).toBe('hello\n');
  expect(await exec('--tls-ca', cert)).toMatchObject({ code: 125, stdout: '' });
  await daemon.restart();
});

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.2');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}
