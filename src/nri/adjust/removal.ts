/** What a name with the mark of a removal is about; undefined for one without. */
export function removalOf(name: string): string | undefined {
  return name.startsWith('-') ? name.slice(1) : undefined;
}

/** The names in a list, and those that it wants removed. */
export function split<T>(
  items: readonly T[],
  nameOf: (item: T) => string,
): { added: T[]; removed: Set<string> } {
  const added = items.filter((item) => removalOf(nameOf(item)) === undefined);
  const removed = items.flatMap((item) => removalOf(nameOf(item)) ?? []);
  return { added, removed: new Set(removed) };
}

/** `before` without what is removed or set anew, and what is set. */
export function adjustList<Before, Item>(
  before: readonly Before[],
  items: readonly Item[],
  names: { before: (each: Before) => string; item: (each: Item) => string },
  convert: (item: Item) => Before,
): Before[] {
  const { added, removed } = split(items, names.item);
  const gone = new Set([...removed, ...added.map(names.item)]);
  return [...before.filter((each) => !gone.has(names.before(each))), ...added.map(convert)];
}

/** The same for a map. */
export function adjustMap<Before, Item>(
  before: Readonly<Record<string, Before>>,
  changes: Readonly<Record<string, Item>>,
  convert: (item: Item) => Before,
): Record<string, Before> {
  const list = adjustList(
    Object.entries(before),
    Object.entries(changes),
    { before: ([key]) => key, item: ([key]) => key },
    ([key, value]): [string, Before] => [key, convert(value)],
  );
  return Object.fromEntries(list);
}
