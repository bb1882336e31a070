import { readdir, readFile, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { errnoOf, ifExists, KeelsonError, messageOf } from '../../base/index.ts';
import {
  CNI_ERROR,
  CniError,
  type NetworkList,
  parseNetworkList,
  pluginDirectoryOf,
} from '../spec/index.ts';

const EXTENSIONS = new Set(['.conf', '.conflist', '.json']);

/** Bytes that a configuration file may have. */
const LARGEST_FILE = 1024 * 1024;

/** The files of a directory that hold networks, in the order in which they count. None if it is not there. */
export async function networkFiles(confDir: string): Promise<string[]> {
  const names = (await ifExists(readdir(confDir))) ?? [];
  return names.filter((name) => EXTENSIONS.has(extname(name))).sort();
}

/** A file of the directory, with the network that it holds or why it does not. */
export type NetworkFile = { file: string } & ({ network: NetworkList } | { problem: unknown });

/** All networks of a directory, in the order of their files. */
export async function readNetworks(confDir: string): Promise<NetworkFile[]> {
  const found: NetworkFile[] = [];
  for (const file of await networkFiles(confDir)) {
    try {
      found.push({ file, network: await readNetwork(confDir, file) });
    } catch (problem) {
      found.push({ file, problem });
    }
  }
  return found;
}

/**
 * The network of that name; as libcni has it, one of a `.conflist` goes before others.
 * Fails with NOT_FOUND, and names files that cannot be read.
 */
export async function findNetwork(confDir: string, name: string): Promise<NetworkList> {
  const problems: string[] = [];
  const rank = ({ file }: NetworkFile) => (extname(file) === '.conflist' ? 0 : 1);
  for (const entry of (await readNetworks(confDir)).toSorted((a, b) => rank(a) - rank(b))) {
    if ('problem' in entry) problems.push(messageOf(entry.problem));
    else if (entry.network.name === name) return entry.network;
  }
  throw new KeelsonError('NOT_FOUND', `Cannot find network "${name.slice(0, 200)}"`, {
    reason: [`no file in "${confDir}" has it`, ...problems].join('; '),
  });
}

/** Reads one network from its file, and its plugins from theirs if it has such. */
export async function readNetwork(confDir: string, file: string): Promise<NetworkList> {
  const path = join(confDir, file);
  const what = `Network configuration "${path}"`;
  const json = await readJson(path, what);
  const directory = pluginDirectoryOf(json, what);
  if (directory === undefined) return parseNetworkList(json, what);
  return parseNetworkList(json, what, await readPluginFiles(join(confDir, directory)));
}

async function readPluginFiles(directory: string): Promise<unknown[]> {
  const names = await ifExists(readdir(directory)).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  });
  const files = (names ?? []).filter((name) => extname(name) === '.conf').sort();
  return Promise.all(
    files.map((file) =>
      readJson(join(directory, file), `Plugin configuration "${join(directory, file)}"`),
    ),
  );
}

async function readJson(path: string, what: string): Promise<unknown> {
  try {
    const file = await stat(path);
    if (!file.isFile()) throw new Error('it is not a regular file');
    if (file.size > LARGEST_FILE) throw new Error(`it is larger than ${LARGEST_FILE} bytes`);
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new CniError(CNI_ERROR.INVALID_CONFIG, what, { details: messageOf(error) });
  }
}
