import { KeyedLock } from '../../base/index.ts';
import type { Plugin } from '../spec/index.ts';
import { bridge } from './bridge/bridge.ts';
import { hostLocal } from './host-local/host-local.ts';
import { portmap } from './portmap/portmap.ts';

/** The built-in plugins: a fresh list, which shares nothing with another one. */
export function builtinPlugins(): Plugin[] {
  const turns = new KeyedLock();
  return [bridge(turns), hostLocal(), portmap(turns)];
}
