import { once } from 'node:events';
import { insideNamespace, killGroup, start } from '../../src/linux/index.ts';

/** Answers what it hears once it has heard the end, or says a word to whoever connects. */
const PROGRAM = `
const [host, port, word] = process.argv.slice(1);
const server = require('node:net').createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => {});
  if (word !== '') return void socket.end(word);
  const parts = [];
  socket.on('data', (chunk) => parts.push(chunk));
  socket.on('end', () => socket.end(Buffer.concat(parts)));
});
server.listen(Number(port), host, () => console.log(server.address().port));
`;

export interface Listener extends Disposable {
  readonly port: number;
}

export interface ListenerOptions {
  /** The network namespace to listen in; default: the host's. */
  path?: string;
  host?: string;
  /** Default: any free one. */
  port?: number;
  /** What is said to whoever connects. Default: what they say, when they have said it all. */
  word?: string;
}

/** Starts a program that listens in a network namespace. */
export async function startListener(options: ListenerOptions): Promise<Listener> {
  const { path, host = '127.0.0.1', port = 0, word = '' } = options;
  const args = ['-e', PROGRAM, host, String(port), word];
  const launch = () => start(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const child = path === undefined ? launch() : insideNamespace('net', path, launch);
  const [line] = await once(child.stdout!, 'data');
  return { port: Number(String(line)), [Symbol.dispose]: () => killGroup(child.pid) };
}
