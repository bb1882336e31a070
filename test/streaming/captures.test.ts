import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { SILENT } from '../../src/base/index.ts';
import { start } from '../../src/linux/index.ts';
import { StreamingServer } from '../../src/streaming/index.ts';
import { type Capture, cutFrames, readCapture, sideOf, summarise } from './captures.ts';
import { ProcessBackend } from './process-backend.ts';

const BUSYBOX = '/bin/busybox';

/** Plays the client's side to a server, byte for byte; answers what the server said. */
async function replay(capture: Capture, url: string): Promise<{ head: string; bytes: Buffer }> {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect(Number(port), hostname);
  const received = new Received(socket);
  socket.write(capture.requestHead.replace(/^POST \S+/, `POST ${pathname}`));
  const head = await received.head();
  let said = Buffer.alloc(0);
  for (const { from, bytes } of capture.segments) {
    if (from === 'server') {
      said = Buffer.concat([said, bytes]);
      continue;
    }
    const soFar = summarise(cutFrames(said));
    await received.until((answer) => {
      const heard = summarise(cutFrames(answer));
      return (
        heard.replies.length >= soFar.replies.length &&
        heard.ends.length >= soFar.ends.length &&
        heard.goaway.length >= soFar.goaway.length &&
        Object.entries(soFar.data).every(
          ([id, text]) => (heard.data[Number(id)]?.length ?? 0) >= text.length,
        )
      );
    });
    socket.write(bytes);
  }
  await received.until((answer) => summarise(cutFrames(answer)).goaway.length > 0);
  socket.end();
  return { head, bytes: received.bytes };
}

class Received {
  bytes = Buffer.alloc(0);
  readonly #socket: Socket;
  #closed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
      socket.emit('more');
    });
    socket.on('error', () => {});
    socket.on('end', () => {
      this.#closed = true;
      socket.emit('more');
    });
  }

  async head(): Promise<string> {
    await this.until((bytes) => bytes.includes('\r\n\r\n'));
    const end = this.bytes.indexOf('\r\n\r\n') + 4;
    const head = this.bytes.toString('latin1', 0, end);
    this.bytes = this.bytes.subarray(end);
    return head;
  }

  async until(condition: (bytes: Buffer) => boolean): Promise<void> {
    while (!condition(this.bytes)) {
      if (this.#closed) throw new Error('the server closed too early');
      await once(this.#socket, 'more');
    }
  }
}

async function withServer(
  backend: ProcessBackend,
  work: (server: StreamingServer) => Promise<void>,
): Promise<void> {
  const options = { address: '127.0.0.1', port: 0, backend, logger: SILENT };
  await using server = await StreamingServer.open({ ...options, limits: { drain: 3000 } });
  await work(server);
}

/** All that both servers must say alike; the report of a failure is worded freely. */
function comparable(bytes: Buffer) {
  const { data, ...rest } = summarise(cutFrames(bytes));
  const { 1: report = '', ...outputs } = data;
  return { ...rest, outputs, report: report.includes('Failure') ? 'Failure' : report };
}

function withoutDate(head: string): string {
  return head.replace(/^Date: .*\r\n/m, '');
}

async function expectSame(capture: Capture, url: string): Promise<Buffer> {
  const { head, bytes } = await replay(capture, url);
  expect(withoutDate(head)).toBe(withoutDate(capture.responseHead));
  const recorded = comparable(sideOf(capture, 'server'));
  const answered = comparable(bytes);
  // A client that closes at once after its own goodbye has not recorded the answer.
  if (recorded.goaway.length === 0) answered.goaway = [];
  expect(answered).toEqual(recorded);
  return bytes;
}

const exec = { containerId: 'c', tty: false, stdin: true, stdout: true, stderr: true };

test('exec with stdin and exit code 3', () =>
  withServer(new ProcessBackend(), async (server) => {
    const command = [BUSYBOX, 'sh', '-c', 'cat; echo to-err >&2; exit 3'];
    const capture = readCapture('exec-stdin-exit3');
    const bytes = await expectSame(capture, server.execUrl({ ...exec, command }));
    const report = (side: Buffer) => JSON.parse(summarise(cutFrames(side)).data[1] ?? '');
    const { message: _, ...wanted } = report(sideOf(capture, 'server'));
    expect(report(bytes)).toMatchObject(wanted);
  }));

test('exec whose output is 300,000 bytes', () =>
  withServer(new ProcessBackend(), async (server) => {
    const command = [BUSYBOX, 'sh', '-c', 'head -c 300000 /dev/zero | tr "\\0" x'];
    const url = server.execUrl({ ...exec, stdin: false, command });
    await expectSame(readCapture('exec-300k'), url);
  }));

test('exec with a terminal', () =>
  withServer(new ProcessBackend(), async (server) => {
    // The first thing typed is seen before the size is.
    const script =
      'until [ "$(stty size 2>/dev/null)" = "33 99" ]; do sleep 0.01; done; sleep 0.1; stty size; echo hi';
    const command = [BUSYBOX, 'sh', '-c', script];
    const url = server.execUrl({ ...exec, tty: true, stderr: false, command });
    await expectSame(readCapture('exec-tty'), url);
  }));

test('attach', () => {
  const backend = new ProcessBackend();
  const script = 'while read line; do echo "got $line"; [ $line = bye ] && exit; done';
  const child = start(BUSYBOX, ['sh', '-c', script], { stdio: 'pipe' });
  backend.containers.set('c', child);
  return withServer(backend, (server) =>
    expectSame(readCapture('attach'), server.attachUrl(exec)).then(() => {}),
  );
});

test('port-forward with two connections at once', () => {
  const capture = readCapture('port-forward');
  const asked = summarise(cutFrames(sideOf(capture, 'client'))).data;
  const answered = summarise(cutFrames(sideOf(capture, 'server'))).data;
  const backend = new ProcessBackend();
  // What the recorded nginx answered, for each request; it closes when the client has.
  backend.portForward = async (_sandbox: string, port: number, stream: Duplex) => {
    expect(port).toBe(80);
    let request = '';
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
      request += chunk;
      const id = Object.keys(asked).find((key) => asked[Number(key)] === request);
      if (id !== undefined) stream.write(answered[Number(id)]);
    }
    stream.end();
  };
  return withServer(backend, async (server) => {
    await expectSame(capture, server.portForwardUrl({ sandboxId: 's', ports: [] }));
  });
});
