import { CNI_ERROR, CniError, type PluginCall } from '../spec/index.ts';

/**
 * The values of CNI_ARGS that a plugin knows, by key. A key that it does not know is an
 * error, unless `IgnoreUnknown` is set.
 */
export function readArgs(call: PluginCall, known: readonly string[]): Map<string, string> {
  const all = new Map(
    call.args
      .split(';')
      .filter((pair) => pair !== '')
      .map(splitPair),
  );
  const ignore = readFlag(all.get('IgnoreUnknown'));
  const unknown = [...all.keys()].filter((key) => key !== 'IgnoreUnknown' && !known.includes(key));
  if (unknown.length > 0 && !ignore) {
    throw invalid(`it holds ${unknown.map((key) => JSON.stringify(key)).join(', ')}`);
  }
  return new Map([...all].filter(([key]) => known.includes(key)));
}

function readFlag(text = '0'): boolean {
  if (/^(1|true)$/i.test(text)) return true;
  if (/^(0|false)$/i.test(text)) return false;
  throw invalid(`IgnoreUnknown is ${JSON.stringify(text)}, neither 1 nor 0`);
}

function splitPair(pair: string): [string, string] {
  const at = pair.indexOf('=');
  if (at <= 0) throw invalid(`${JSON.stringify(pair)} is no pair of key and value`);
  return [pair.slice(0, at), pair.slice(at + 1)];
}

function invalid(details: string): CniError {
  return new CniError(CNI_ERROR.INVALID_ENVIRONMENT, 'Invalid CNI_ARGS', { details });
}
