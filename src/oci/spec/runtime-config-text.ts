import type { Process, RuntimeConfig } from './runtime-config.ts';

/**
 * JSON with whole numbers of up to 64 bits, which limits of processes and arguments of
 * system calls have: those that a double does not hold are bigint.
 */
export function runtimeConfigText(value: RuntimeConfig | Process): string {
  return JSON.stringify(value, (_key, child: unknown) =>
    typeof child === 'bigint' ? RAW.rawJSON(String(child)) : child,
  );
}

/** The other way round. Fails with a SyntaxError. */
export function parseRuntimeConfig(text: string): RuntimeConfig {
  const revive = (_key: string, value: unknown, { source }: { source?: string }) =>
    typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)
      ? BigInt(source ?? value)
      : value;
  return JSON.parse(text, revive as Parameters<typeof JSON.parse>[1]) as RuntimeConfig;
}

/** Not in the type definitions yet (https://tc39.es/proposal-json-parse-with-source/). */
const RAW = JSON as unknown as { rawJSON(text: string): unknown };
