const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]:,]/g;

/**
 * The first key that an object of the name `of` has twice, anywhere in a valid JSON text.
 * JSON.parse keeps the last of them and says nothing.
 */
export function repeatedKey(text: string, of: string): string | undefined {
  const open: { name: string; keys: Set<string> }[] = [];
  let last = '';
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === ':') {
      const key = JSON.parse(last) as string;
      const object = open.at(-1);
      if (object?.name === of && object.keys.has(key)) return key;
      object?.keys.add(key);
      last = key;
    } else if (token === '{' || token === '[') {
      open.push({ name: last, keys: new Set() });
      last = '';
    } else if (token === '}' || token === ']') {
      open.pop();
    } else {
      last = token === ',' ? '' : token;
    }
  }
  return undefined;
}
