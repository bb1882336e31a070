/**
 * An NRI plugin as a program. It connects to NRI_TEST_SOCKET, or speaks on the descriptor
 * NRI_PLUGIN_SOCKET, adds each request it gets to the file given as its argument, one JSON
 * object a line, and answers as the file beside it, `….answers`, says at that moment.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { connect, Socket } from 'node:net';
import { NriPeer, type PluginAnswers } from './nri-peer.ts';

const [, , eventsFile = '/dev/stdout'] = process.argv;
const { env } = process;
const answers = () => JSON.parse(readFileSync(`${eventsFile}.answers`, 'utf8')) as PluginAnswers;

const socket =
  env['NRI_TEST_SOCKET'] === undefined
    ? new Socket({ fd: Number(env['NRI_PLUGIN_SOCKET']) })
    : connect(env['NRI_TEST_SOCKET']);
socket.on('error', () => process.exit(2));
socket.on('close', () => {
  if (answers()['stays'] === undefined) process.exit(0);
});
const peer = new NriPeer(socket, {
  answers,
  note: (event) => appendFileSync(eventsFile, `${JSON.stringify(event)}\n`),
  exit: () => process.exit(1),
});
await peer.register(env['NRI_PLUGIN_IDX'] ?? '', env['NRI_PLUGIN_NAME'] ?? '');
setInterval(() => {}, 1000);
