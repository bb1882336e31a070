import { createHash, randomInt } from 'node:crypto';
import { errnoOf, type KeyedLock, sleep } from '../../base/index.ts';
import {
  addElement,
  decodeElements,
  decodeGeneration,
  deleteElement,
  getChain,
  getElement,
  getGeneration,
  type ListedElement,
  listElements,
  type NetlinkRequest,
  type NetlinkSocket,
  type NftElement,
  type NftTable,
} from '../../linux/index.ts';
import type { PluginCall, ValidAttachment } from '../spec/index.ts';

/**
 * Elements of nftables maps that belong to an attachment. Its owner stands in an
 * element's comment, so that DEL finds them without a result, deletes no element that
 * another attachment has meanwhile put under the same key, and GC finds those of a
 * network that nobody owns.
 *
 * The kernel cannot delete "the element of this key if its comment is that": a change
 * names the generation of the rule set that it was decided on instead, and is decided
 * anew when the rule set has changed meanwhile.
 */

const ATTEMPTS = 50;

/** What the comments of a network's elements begin with. */
function networkMark(network: string): string {
  return createHash('sha256').update(network).digest('hex').slice(0, 12);
}

interface Attachment {
  readonly network: string;
  readonly containerId: string;
  readonly ifname: string;
}

/** The unique beginning of the comments of an attachment's elements. */
function attachmentMark({ network, containerId, ifname }: Attachment): string {
  const hash = createHash('sha256').update(`${ifname}:${containerId}`).digest('hex');
  return `${networkMark(network)}-${hash.slice(0, 16)}`;
}

/** The comment of an attachment's elements: unique first, then readable. */
export function ownerComment(call: PluginCall): string {
  const { containerId, ifname } = call;
  const mark = attachmentMark({ network: call.config.name, containerId, ifname });
  return `${mark} ${call.config.name} ${containerId} ${ifname}`.slice(0, 120);
}

export interface OwnedElements {
  readonly socket: NetlinkSocket;
  readonly table: NftTable;
  readonly maps: readonly string[];
  /** Lets the changes of this process be made one after the other, instead of anew. */
  readonly turns: KeyedLock;
}

/** An element with the map that it is for. */
export interface MapElement extends NftElement {
  readonly map: string;
}

/** What elements need: the table and maps, and chains of which the last stands for all. */
export interface Structure {
  /** Chains that are there only when everything is. */
  readonly chains: readonly string[];
  /** Makes everything, or puts it right. */
  readonly prepare: () => NetlinkRequest[];
}

/**
 * Adds elements in one transaction, with the structure that they need if it is not there.
 * Keys that are taken change hands: the last one who claims them has them.
 *
 * A transaction that fails costs ten milliseconds and more, because the kernel waits until
 * nobody looks at what it takes back. So it is looked first what is there.
 */
export async function claimElements(
  owned: OwnedElements,
  elements: readonly MapElement[],
  structure: Structure,
): Promise<void> {
  if (elements.length === 0) return;
  const { socket, table } = owned;
  const add = elements.map((element) => addElement(table, element.map, element));
  await retryOnChange(owned, async () => {
    const generation = await generationOf(socket);
    const ready = await hasChains(owned, structure.chains);
    const taken = ready ? await takenKeys(owned, elements) : [];
    await socket.commit(
      [
        ...(ready ? [] : structure.prepare()),
        ...taken.map(({ map, key }) => deleteElement(table, map, key)),
        ...add,
      ],
      generation,
    );
  });
}

async function hasChains({ socket, table }: OwnedElements, chains: readonly string[]) {
  for (const chain of chains) {
    if (!(await exists(socket.get(getChain(table, chain))))) return false;
  }
  return true;
}

async function takenKeys({ socket, table }: OwnedElements, elements: readonly MapElement[]) {
  const taken: MapElement[] = [];
  for (const element of elements) {
    if (await exists(socket.get(getElement(table, element.map, element.key)))) taken.push(element);
  }
  return taken;
}

async function exists(found: Promise<unknown>): Promise<boolean> {
  try {
    await found;
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Deletes the elements of an attachment. Where they are supposed to be is looked first;
 * if one is not there, or another attachment's, all maps are searched.
 */
export async function releaseElements(
  owned: OwnedElements,
  call: PluginCall,
  supposed: readonly Pick<MapElement, 'map' | 'key'>[] = [],
): Promise<void> {
  const mark = `${attachmentMark({ ...call, network: call.config.name })} `;
  if (supposed.length > 0 && (await releaseSupposed(owned, supposed, mark))) return;
  await deleteWhere(owned, (comment) => comment.startsWith(mark));
}

/** Deletes the elements of these keys if all are of that mark. Answers whether they were. */
async function releaseSupposed(
  owned: OwnedElements,
  supposed: readonly Pick<MapElement, 'map' | 'key'>[],
  mark: string,
): Promise<boolean> {
  const { socket, table } = owned;
  let all = true;
  await retryOnChange(owned, async () => {
    const generation = await generationOf(socket);
    for (const { map, key } of supposed) {
      const comment = await commentAt(owned, map, key);
      all = comment?.startsWith(mark) ?? false;
      if (!all) return;
    }
    const requests = supposed.map(({ map, key }) => deleteElement(table, map, key));
    await socket.commit(requests, generation);
  });
  return all;
}

async function commentAt({ socket, table }: OwnedElements, map: string, key: Uint8Array) {
  try {
    const { body } = await socket.get(getElement(table, map, key));
    return decodeElements(body)[0]?.comment;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Deletes the elements of the call's network whose attachment is not valid any more. */
export async function collectElements(owned: OwnedElements, call: PluginCall): Promise<void> {
  const network = call.config.name;
  const valid = (call.config['cni.dev/valid-attachments'] ?? []).map((one: ValidAttachment) =>
    attachmentMark({ network, containerId: one.containerID, ifname: one.ifname }),
  );
  const prefix = `${networkMark(network)}-`;
  await deleteWhere(
    owned,
    (comment) => comment.startsWith(prefix) && !valid.includes(comment.split(' ', 1)[0] ?? ''),
  );
}

/** The elements of an attachment. */
export async function elementsOf(
  owned: OwnedElements,
  call: PluginCall,
): Promise<(ListedElement & { map: string })[]> {
  const mark = attachmentMark({ ...call, network: call.config.name });
  return (await list(owned)).filter(({ comment }) => comment?.startsWith(`${mark} `));
}

async function deleteWhere(owned: OwnedElements, match: (comment: string) => boolean) {
  const { socket, table } = owned;
  await retryOnChange(owned, async () => {
    const generation = await generationOf(socket);
    const all = await list(owned);
    const gone = all.filter(({ comment }) => comment !== undefined && match(comment));
    if (gone.length === 0) return;
    await socket.commit(
      gone.map(({ map, key }) => deleteElement(table, map, key)),
      generation,
    );
  });
}

async function list(owned: OwnedElements): Promise<(ListedElement & { map: string })[]> {
  const { socket, table } = owned;
  const found: (ListedElement & { map: string })[] = [];
  for (const map of owned.maps) {
    const request = { ...listElements(table, map), tolerate: ['ENOENT'] };
    const messages = await socket.dump(request, ({ body }) => decodeElements(body));
    found.push(...messages.flat().map((element) => ({ ...element, map })));
  }
  return found;
}

async function generationOf(socket: NetlinkSocket): Promise<number> {
  return decodeGeneration((await socket.get(getGeneration())).body);
}

async function retryOnChange(owned: OwnedElements, work: () => Promise<void>): Promise<void> {
  using _turn = await owned.turns.acquire('nftables');
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === ATTEMPTS || errnoOf(error) !== 'ERESTART') throw error;
      await sleep(randomInt(1, 2 + attempt));
    }
  }
}
