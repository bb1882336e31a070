import type { Settings } from './schema.ts';
import type { RUNTIME_TYPES } from './sections/runtimes.ts';

type CamelCase<S> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

type Camelized<T> = T extends readonly (infer Item)[]
  ? readonly Camelized<Item>[]
  : T extends object
    ? { readonly [Key in keyof T as CamelCase<Key>]: Camelized<T[Key]> }
    : T;

export type RuntimeType = (typeof RUNTIME_TYPES)[number];

/** How one OCI runtime is run. */
export interface RuntimeConfig {
  readonly type: RuntimeType;
  /** An absolute path, or a name to look up in PATH. */
  readonly path: string;
  /** The directory of the runtime's own state. */
  readonly root: string;
  /** Arguments put before the command of each call. */
  readonly options: readonly string[];
}

/**
 * The settings of `keelson serve`, all defaults filled in: the keys of the TOML file in
 * camel case. Durations are in milliseconds, sizes in bytes.
 */
export type Config = Omit<Camelized<Settings>, 'listen' | 'runtimes' | 'admin' | 'csi'> & {
  readonly listen: readonly string[];
  readonly runtimes: Readonly<Record<string, RuntimeConfig>>;
  readonly admin: { readonly address: string };
  readonly csi: Camelized<Settings['csi']> & {
    readonly root: string;
    readonly registrationDir: string;
    readonly nodeName: string;
  };
};

/** Certificate files of a server; all absent where it speaks plainly. */
export type TlsConfig = Config['grpc']['tls'];

/** `conf_dir` as `confDir`. */
export function camelCase(key: string): string {
  return key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Copies tables and lists with their keys in camel case. */
export function camelized(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelized);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [camelCase(key), camelized(child)]),
  );
}
