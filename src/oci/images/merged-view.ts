export function lookUp(_below: string[], _path: string) {
  return undefined;
}
