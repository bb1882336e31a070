import { describe, expect, test } from 'vitest';
import type { Get } from './suite.ts';

export function identitySuite(get: Get): void {
  describe('Identity', () => {
    test('GetPluginInfo: the name is in domain name notation, at most 63 characters', () => {
      expect(get().about.name).toMatch(/^[a-zA-Z0-9][-a-zA-Z0-9.]{0,61}[a-zA-Z0-9]$/);
    });

    test('GetPluginInfo: vendor_version is REQUIRED', () => {
      expect(get().about.version).not.toBe('');
    });

    test('Probe: ready is unset or true once the plugin is initialized', () => {
      expect(get().about.ready).toBe(true);
    });

    test('GetPluginCapabilities: volume expansion is told along with a call that expands', () => {
      const { about, has } = get();
      const expands = has.controller('EXPAND_VOLUME') || has.node('EXPAND_VOLUME');
      expect(about.expansion.length > 0).toBe(expands);
    });

    test('NodeGetInfo: node_id is there and has at most 256 bytes, max_volumes_per_node is not negative', () => {
      const { node } = get().about;
      expect(node?.nodeId).toMatch(/^.{1,256}$/);
      expect(node?.maxVolumes).toBeGreaterThanOrEqual(0n);
    });

    test('NodeGetInfo: accessible_topology is there with VOLUME_ACCESSIBILITY_CONSTRAINTS', ({
      skip,
    }) => {
      const { about } = get();
      if (!about.plugin.includes('VOLUME_ACCESSIBILITY_CONSTRAINTS')) skip();
      expect(Object.keys(about.node?.topology ?? {}).length).toBeGreaterThan(0);
    });
  });
}
