import { invalid } from './invalid.ts';

/** Bytes of a string, and of all keys and values of a map ("Size Limits" of the specification). */
const LONGEST_STRING = 128;
const LARGEST_MAP = 4096;
const LARGEST_MOUNT_FLAGS = 4096;
/** Bytes of a path: what the kernel takes. */
const LONGEST_PATH = 4096;

const LIMITS: Record<string, number> = {
  nodeId: 256,
  stagingTargetPath: LONGEST_PATH,
  targetPath: LONGEST_PATH,
  volumePath: LONGEST_PATH,
};

const MAPS = new Set([
  ...['parameters', 'secrets', 'volumeContext', 'publishContext', 'mutableParameters', 'segments'],
]);

/** "The name MUST NOT contain" these: U+0000-8, B, C, E-1F and 7F-9F. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
const FORBIDDEN_IN_NAMES = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

const TOPOLOGY_KEY =
  /^([a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const TOPOLOGY_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

/** Fails with INVALID_ARGUMENT where a request holds more than the specification lets it. */
export function checkLimits(rpc: string, message: object): void {
  for (const [field, value] of Object.entries(message)) {
    if (typeof value === 'string') checkString(rpc, field, value);
    else if (field === 'mountFlags') checkMountFlags(rpc, value as string[]);
    else if (MAPS.has(field)) checkMap(rpc, field, value as Record<string, string>);
    else if (Array.isArray(value)) checkList(rpc, field, value);
    else if (typeof value === 'object' && value !== null) checkLimits(rpc, value);
  }
}

function checkString(rpc: string, field: string, value: string): void {
  const limit = LIMITS[field] ?? LONGEST_STRING;
  const size = Buffer.byteLength(value);
  if (size > limit) throw invalid(rpc, field, `it has ${size} bytes, at most ${limit} are allowed`);
  if (field === 'name' && FORBIDDEN_IN_NAMES.test(value)) {
    throw invalid(rpc, field, `${JSON.stringify(value)} holds control characters`);
  }
}

function checkMountFlags(rpc: string, flags: readonly string[]): void {
  const size = sizeOf(flags);
  if (size <= LARGEST_MOUNT_FLAGS) return;
  throw invalid(
    ...([
      rpc,
      'mount_flags',
      `they have ${size} bytes, at most ${LARGEST_MOUNT_FLAGS} are allowed`,
    ] as const),
  );
}

function checkMap(rpc: string, field: string, map: Record<string, string>): void {
  const size = sizeOf(Object.entries(map).flat());
  if (size > LARGEST_MAP) {
    throw invalid(rpc, field, `it has ${size} bytes, at most ${LARGEST_MAP} are allowed`);
  }
  for (const [key, value] of Object.entries(map)) {
    if (field === 'secrets' && !/^[-\w.]+$/.test(key)) {
      throw invalid(rpc, field, 'a key is not letters, digits, "-", "_" and "."');
    }
    if (field === 'segments' && !(TOPOLOGY_KEY.test(key) && TOPOLOGY_VALUE.test(value))) {
      throw invalid(rpc, field, `"${key}": "${value}" is no topology segment`);
    }
  }
}

function checkList(rpc: string, field: string, list: readonly unknown[]): void {
  for (const each of list) {
    if (typeof each === 'string') checkString(rpc, field, each);
    else if (typeof each === 'object' && each !== null) checkLimits(rpc, each);
  }
}

function sizeOf(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}
