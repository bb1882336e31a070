import { expect, test } from 'vitest';
import { apparmorFor, parseLoadedProfiles } from './apparmor.ts';

test('the names of loaded profiles may hold spaces', () => {
  const text = 'keelson-default (enforce)\n/usr/bin/man (complain)\na (b) (enforce)\n';
  expect([...parseLoadedProfiles(text)]).toEqual(['keelson-default', '/usr/bin/man', 'a (b)']);
  expect(parseLoadedProfiles('').size).toBe(0);
});

test('without AppArmor what is asked for is refused, by name', async () => {
  const host = { apparmor: false };
  expect(await apparmorFor(undefined, host)).toBeUndefined();
  expect(await apparmorFor({ type: 'unconfined' }, host)).toBeUndefined();
  const refused = apparmorFor({ type: 'localhost', reference: 'mine' }, host);
  await expect(refused).rejects.toThrow('AppArmor profile "mine": this host has no AppArmor');
  await expect(apparmorFor({ type: 'runtime-default' }, host)).rejects.toThrow('no AppArmor');
});

test('a profile that is not loaded is refused', async () => {
  const refused = apparmorFor({ type: 'localhost', reference: 'no-such' }, { apparmor: true });
  await expect(refused).rejects.toThrow('AppArmor profile not found');
});
