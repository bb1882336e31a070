import { readFileSync } from 'node:fs';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../fixtures/registry.ts';
import { connect, output, prepareDaemon, startDaemon } from '../harness/index.ts';
import { codeOf } from './suite.ts';

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-tls-'));
  await authority('ca');
  await certificate('server', 'ca');
  await certificate('client', 'ca');
  await authority('other-ca');
  await certificate('stranger', 'other-ca');
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

const file = (name: string) => join(directory, name);

async function authority(name: string): Promise<void> {
  await openssl('req', '-x509', '-nodes', '-days', '2', '-subj', `/CN=${name}`, ...newKey(name), [
    '-out',
    file(`${name}.crt`),
  ]);
}

async function certificate(name: string, by: string): Promise<void> {
  const request = file(`${name}.csr`);
  await openssl('req', '-new', '-nodes', '-subj', `/CN=${name}`, ...newKey(name), [
    '-out',
    request,
  ]);
  await writeFile(file('extensions'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  await openssl('x509', '-req', '-days', '2', '-in', request, '-out', file(`${name}.crt`), [
    ...['-CA', file(`${by}.crt`), '-CAkey', file(`${by}.key`), '-CAcreateserial'],
    ...['-extfile', file('extensions')],
  ]);
}

/** A key on an elliptic curve: RSA takes seconds on small machines. */
function newKey(name: string): string[] {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  return [...curve, '-keyout', file(`${name}.key`)];
}

function openssl(...args: (string | string[])[]): Promise<string> {
  return output('openssl', ...args.flat());
}

const tls = (name: string, ca = 'ca') => ({
  ca: file(`${ca}.crt`),
  cert: file(`${name}.crt`),
  key: file(`${name}.key`),
});

test('the socket is for root and its group, and goes with the daemon', async () => {
  await using daemon = await startDaemon({ network: 'none' });
  expect((await stat(daemon.paths.socket)).mode & 0o777).toBe(0o660);
  await daemon.stop();
  await expect(stat(daemon.paths.socket)).rejects.toThrow();
});

test('the image service may have an endpoint of its own', async () => {
  const image = join(directory, 'image.sock');
  await using daemon = await startDaemon({
    network: 'none',
    args: ['--image-listen', `unix://${image}`],
  });
  using client = connect(`unix://${image}`);
  expect((await client.images.imageFsInfo()).imageFilesystems).toHaveLength(1);
  expect(await codeOf(client.runtime.version())).toBe('UNIMPLEMENTED');
  expect((await stat(image)).mode & 0o777).toBe(0o660);
  expect((await daemon.images.imageFsInfo()).imageFilesystems).toHaveLength(1);
});

test('on loopback TCP is served too', async () => {
  const port = await freePort();
  await using daemon = await startDaemon({
    network: 'none',
    args: ['--listen', `tcp://127.0.0.1:${port}`],
  });
  using client = connect(`tcp://127.0.0.1:${port}`);
  expect((await client.runtime.version()).runtimeName).toBe('keelson');
  expect((await daemon.runtime.version()).runtimeName).toBe('keelson');
});

test('elsewhere TCP is refused without certificates', async () => {
  for (const address of ['tcp://0.0.0.0:4949', 'tcp://[::]:4949', 'tcp://192.0.2.1:4949']) {
    await using daemon = await prepareDaemon({ network: 'none', args: ['--listen', address] });
    daemon.launch();
    expect(await daemon.exited(20_000), address).not.toBe(0);
    expect(daemon.log).toContain('is not a loopback address');
    expect(daemon.log).toContain(`"${address}"`);
  }
});

test('with TLS a client needs a certificate of the right authority', async () => {
  const port = await freePort();
  const { ca, cert, key } = tls('server');
  // Broken files would make all that follows fail for the wrong reason.
  createSecureContext({ ca: [readFileSync(ca)], cert: readFileSync(cert), key: readFileSync(key) });
  await using _daemon = await startDaemon({
    network: 'none',
    args: ['--listen', `tcp://127.0.0.1:${port}`],
    config: `[grpc.tls]\ncert = "${cert}"\nkey = "${key}"\nclient_ca = "${ca}"\n`,
  });
  const version = async (settings: Parameters<typeof connect>[1]) => {
    using client = connect(`tcp://127.0.0.1:${port}`, settings);
    return await codeOf(client.runtime.version({}, { timeout: 5000 }));
  };
  expect(await version({ tls: tls('client') })).toBe('OK');
  expect(await version({ tls: tls('stranger') })).not.toBe('OK');
  expect(await version({ tls: tls('client', 'other-ca') })).not.toBe('OK');
  expect(await version({})).not.toBe('OK');
});

test('a certificate that is not there ends the start with its name', async () => {
  const config = '[grpc.tls]\ncert = "/no/cert"\nkey = "/no/key"\nclient_ca = "/no/ca"\n';
  await using daemon = await prepareDaemon({ network: 'none', config });
  daemon.launch();
  expect(await daemon.exited(20_000)).not.toBe(0);
  expect(daemon.log).toContain('"/no/cert"');
});

test('two daemons live side by side; a socket or a state in use is refused', async () => {
  await using first = await startDaemon({ network: 'none' });
  await using second = await startDaemon({ network: 'none' });
  expect((await second.runtime.version()).runtimeName).toBe('keelson');
  await using third = await prepareDaemon({ network: 'none', args: ['--listen', first.uri] });
  third.launch();
  expect(await third.exited(20_000)).not.toBe(0);
  expect(third.log).toContain('is in use');
  await using fourth = await prepareDaemon({
    network: 'none',
    args: ['--state', first.paths.state],
  });
  fourth.launch();
  expect(await fourth.exited(20_000)).not.toBe(0);
  expect(fourth.log).toContain(first.paths.state);
  expect((await first.runtime.version()).runtimeName).toBe('keelson');
});

test('a socket that a killed daemon left is taken over', async () => {
  await using daemon = await startDaemon({ network: 'none' });
  await daemon.kill9();
  expect((await stat(daemon.paths.socket)).isSocket()).toBe(true);
  await daemon.start();
  expect((await daemon.runtime.version()).runtimeName).toBe('keelson');
});
