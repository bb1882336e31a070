import { describe, expect, test } from 'vitest';
import { CniError } from './error.ts';
import { parseNetworkList, pluginDirectoryOf } from './network-list.ts';

const plugins = [
  { type: 'bridge', capabilities: { mac: true, ips: false }, mtu: 9000 },
  { type: 'portmap' },
];

describe('network lists', () => {
  test('a list', () => {
    const list = parseNetworkList(
      { cniVersion: '1.0.0', name: 'n', disableCheck: 'True', disableGC: true, plugins },
      'it',
    );
    expect(list).toMatchObject({
      name: 'n',
      cniVersion: '1.0.0',
      disableCheck: true,
      disableGc: true,
      plugins: [
        { type: 'bridge', capabilities: ['mac'], config: plugins[0] },
        { type: 'portmap', capabilities: [], config: plugins[1] },
      ],
    });
    expect(parseNetworkList(JSON.parse(list.source), 'it')).toEqual(list);
  });

  test('a single plugin is a list of one', () => {
    const list = parseNetworkList({ cniVersion: '0.3.1', name: 'n', type: 'bridge', x: 1 }, 'it');
    expect(list.plugins).toMatchObject([{ type: 'bridge', config: { name: 'n', x: 1 } }]);
    expect(list.cniVersion).toBe('0.3.1');
    expect(parseNetworkList(JSON.parse(list.source), 'it')).toEqual(list);
  });

  test('plugins from files come after those in the list, and stay when read again', () => {
    const json = { name: 'n', cniVersion: '1.1.0', plugins: [{ type: 'a' }] };
    expect(pluginDirectoryOf(json, 'it')).toBe('n');
    const list = parseNetworkList(json, 'it', [{ type: 'b' }]);
    expect(list.plugins.map(({ type }) => type)).toEqual(['a', 'b']);
    const again = JSON.parse(list.source);
    expect(pluginDirectoryOf(again, 'it')).toBeUndefined();
    expect(parseNetworkList(again, 'it').plugins).toEqual(list.plugins);
  });

  test('no plugin files where the list or the form forbids them', () => {
    expect(
      pluginDirectoryOf({ name: 'n', loadOnlyInlinedPlugins: true, plugins }, 'it'),
    ).toBeUndefined();
    expect(pluginDirectoryOf({ name: 'n', type: 'bridge' }, 'it')).toBeUndefined();
  });

  test.each<[object, string]>([
    [{}, '0.1.0'],
    [{ cniVersion: '' }, '0.1.0'],
    [{ cniVersion: '0.4.0' }, '0.4.0'],
    [{ cniVersion: '0.4.0', cniVersions: ['1.0.0', '0.3.1'] }, '1.0.0'],
    [{ cniVersion: '1.1.0', cniVersions: ['1.0.0'] }, '1.1.0'],
    [{ cniVersion: '2.0.0', cniVersions: ['3.0.0', '1.0.0'] }, '1.0.0'],
    [{ cniVersions: ['0.4.0', '99.0.0'] }, '0.4.0'],
  ])('version of %j', (versions, expected) => {
    expect(parseNetworkList({ name: 'n', ...versions, plugins }, 'it').cniVersion).toBe(expected);
  });

  test.each<[unknown, RegExp]>([
    [[], /expected an object/],
    [null, /expected an object/],
    [{ name: 'n' }, /no plugins/],
    [{ name: 'n', plugins: [] }, /no plugins/],
    [{ name: 'n', plugins: {} }, /plugins: expected an array/],
    [{ plugins }, /"name" is missing/],
    [{ name: '../x', plugins }, /its name "\.\.\/x" does not match/],
    [{ name: '', plugins }, /does not match/],
    [{ name: 'n', plugins: [{}] }, /plugins\[0\]: "type" is missing/],
    [{ name: 'n', plugins: [{ type: '../sh' }] }, /Invalid plugin type "\.\.\/sh"/],
    [{ name: 'n', plugins: [{ type: '..' }] }, /Invalid plugin type/],
    [
      { name: 'n', plugins: [{ type: 'a', capabilities: { x: 'yes' } }] },
      /true or false, got "yes"/,
    ],
    [{ name: 'n', cniVersion: '2.0.0', plugins }, /version "2\.0\.0" is not known/],
    [{ name: 'n', cniVersion: 1, plugins }, /cniVersion: expected a string/],
    [
      { name: 'n', cniVersion: '1.0.0', cniVersions: ['1.0.f'], plugins },
      /cniVersions\[0\]: "1\.0\.f" is no version/,
    ],
    [{ name: 'n', disableCheck: 'maybe', plugins }, /disableCheck: expected true or false/],
  ])('%j is refused', (json, message) => {
    expect(() => parseNetworkList(json, 'Network "x"')).toThrow(CniError);
    expect(() => parseNetworkList(json, 'Network "x"')).toThrow(message);
  });
});
