import type { TarFixtureEntry } from '../fixtures/tar.ts';

/**
 * What applying layers one after the other must give (image-spec layer.md, "Applying
 * Changesets"), written as plainly as can be: trees of objects, no overlayfs, no disk.
 */
export type ModelNode =
  | {
      kind: 'directory';
      mode: number;
      owner: string;
      children: Map<string, ModelNode>;
      fresh: boolean;
      /** An entry of the layer that is being applied says what it is. */
      stated: boolean;
    }
  | { kind: 'file'; text: string; fresh: boolean }
  /** Used once a path of the layer has led through it. */
  | { kind: 'link'; target: string; owner: string; fresh: boolean; used: boolean };

type Directory = Extract<ModelNode, { kind: 'directory' }>;

/** An entry that no tool writes, or that cannot be applied. */
export class ImpossibleEntry extends Error {}

const newDirectory = (mode = 0o755, owner = '0:0'): Directory => ({
  kind: 'directory',
  mode,
  owner,
  children: new Map(),
  fresh: true,
  stated: false,
});

export function applyLayers(layers: readonly (readonly TarFixtureEntry[])[]): Directory {
  const root = newDirectory();
  for (const layer of layers) {
    age(root);
    for (const entry of layer) applyEntry(root, entry);
    refuseTangle(root, layer);
  }
  return root;
}

/**
 * A layer that makes links, and whose paths lead through links of lower layers as well, may
 * mean one place by several paths: what it says depends on the order of its entries.
 */
function refuseTangle(root: Directory, layer: readonly TarFixtureEntry[]): void {
  if (layer.some(({ type }) => type === 'symlink') && usesOldLink(root))
    throw new ImpossibleEntry();
}

function usesOldLink(node: ModelNode): boolean {
  if (node.kind === 'link') return node.used && !node.fresh;
  return node.kind === 'directory' && [...node.children.values()].some(usesOldLink);
}

/** The same lines as `describeTree` gives of a directory on disk. */
export function describeModel(root: Directory): Record<string, string> {
  const lines: Record<string, string> = {};
  const walk = (directory: Directory, above: string) => {
    for (const [name, node] of [...directory.children].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const path = above === '' ? name : `${above}/${name}`;
      if (node.kind === 'directory') {
        lines[path] = `directory ${node.mode.toString(8)} ${node.owner}`;
        walk(node, path);
      } else if (node.kind === 'link') lines[path] = `link ${node.owner} ${node.target}`;
      else lines[path] = node.text;
    }
  };
  walk(root, '');
  return lines;
}

function age(directory: Directory): void {
  directory.fresh = false;
  directory.stated = false;
  for (const node of directory.children.values()) {
    node.fresh = false;
    if (node.kind === 'link') node.used = false;
    if (node.kind === 'directory') age(node);
  }
}

function applyEntry(root: Directory, entry: TarFixtureEntry): void {
  const components = String(entry.path).split('/').filter(Boolean);
  const name = components.pop() ?? '';
  const parent = walk(root, components, true);
  if (parent === undefined) throw new ImpossibleEntry();
  if (name === '.wh..wh..opq') {
    for (const [child, node] of parent.children) {
      if (hasFresh(node)) throw new ImpossibleEntry();
      parent.children.delete(child);
    }
    return;
  }
  if (name.startsWith('.wh.')) {
    if (hasFresh(parent.children.get(name.slice(4)))) throw new ImpossibleEntry();
    parent.children.delete(name.slice(4));
    return;
  }
  const owner = `${entry.uid ?? 0}:${entry.gid ?? 0}`;
  const mode = entry.mode ?? 0o644;
  const there = parent.children.get(name);
  // Twice the same path in one layer, perhaps by way of a link: nothing says what that means.
  const again = entry.type === 'directory' && there?.kind === 'directory' && !there.stated;
  if (hasFresh(there) && !again) throw new ImpossibleEntry();
  if (entry.type === 'directory') {
    if (there?.kind === 'directory')
      Object.assign(there, { mode, owner, fresh: true, stated: true });
    else parent.children.set(name, { ...newDirectory(mode, owner), stated: true });
  } else if (entry.type === 'symlink') {
    parent.children.set(name, {
      kind: 'link',
      target: String(entry.target),
      owner,
      fresh: true,
      used: false,
    });
  } else if (entry.type === 'link') {
    parent.children.delete(name);
    const target = lookUp(root, String(entry.target));
    if (target === undefined || target.kind === 'directory') throw new ImpossibleEntry();
    parent.children.set(name, { ...target, fresh: true });
  } else if (entry.type === 'fifo') {
    parent.children.set(name, {
      kind: 'file',
      text: `fifo ${mode.toString(8)} ${owner}`,
      fresh: true,
    });
  } else {
    const text = `file ${mode.toString(8)} ${owner} ${entry.content ?? ''}`;
    parent.children.set(name, { kind: 'file', text, fresh: true });
  }
}

/** Whether this layer has made something here or below already. */
function hasFresh(node: ModelNode | undefined): boolean {
  if (node === undefined) return false;
  if (node.kind === 'link' && node.used) return true;
  return node.fresh || (node.kind === 'directory' && [...node.children.values()].some(hasFresh));
}

function lookUp(root: Directory, path: string): ModelNode | undefined {
  const components = path.split('/').filter(Boolean);
  const name = components.pop() ?? '';
  return walk(root, components, false)?.children.get(name);
}

/** The directory that a path means: links followed as if `root` were the root directory. */
function walk(root: Directory, path: readonly string[], make: boolean): Directory | undefined {
  const pending = [...path];
  const stack: Directory[] = [root];
  let links = 0;
  while (pending.length > 0) {
    const component = pending.shift() ?? '';
    const here = stack.at(-1) ?? root;
    if (component === '' || component === '.') continue;
    if (component === '..') {
      if (stack.length > 1) stack.pop();
      continue;
    }
    const node = here.children.get(component);
    if (node?.kind === 'directory') stack.push(node);
    else if (node?.kind === 'link') {
      links++;
      if (links > 40) throw new ImpossibleEntry();
      node.used = true;
      if (node.target.startsWith('/')) stack.length = 1;
      pending.unshift(...node.target.split('/'));
    } else if (node !== undefined) throw new ImpossibleEntry();
    else if (!make) return undefined;
    else {
      const made = newDirectory();
      here.children.set(component, made);
      stack.push(made);
    }
  }
  return stack.at(-1);
}
