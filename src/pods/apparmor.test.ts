import { expect, test } from 'vitest';
import { apparmorFor, parseLoadedProfiles } from './apparmor.ts';
import type { SecurityProfile } from './config.ts';

test('the names of loaded profiles may hold spaces', () => {
  const text = 'keelson-default (enforce)\n/usr/bin/man (complain)\na (b) (enforce)\n';
  expect([...parseLoadedProfiles(text)]).toEqual(['keelson-default', '/usr/bin/man', 'a (b)']);
  expect(parseLoadedProfiles('').size).toBe(0);
});

test('without AppArmor what is asked for is refused, by name', async () => {
  const ask = (profile: SecurityProfile | undefined, privileged = false) =>
    apparmorFor({ profile, privileged }, { apparmor: false });
  expect(await ask(undefined)).toBeUndefined();
  expect(await ask({ type: 'unconfined' })).toBeUndefined();
  const mine = { type: 'localhost', reference: 'mine' } as const;
  for (const privileged of [false, true]) {
    const refused = ask(mine, privileged);
    await expect(refused).rejects.toThrow('AppArmor profile "mine": this host has no AppArmor');
  }
  await expect(ask({ type: 'runtime-default' })).rejects.toThrow('no AppArmor');
  expect(await ask({ type: 'runtime-default' }, true)).toBeUndefined();
});

test('a profile that is not loaded is refused', async () => {
  const profile = { type: 'localhost', reference: 'no-such' } as const;
  const refused = apparmorFor({ profile, privileged: false }, { apparmor: true });
  await expect(refused).rejects.toThrow('AppArmor profile not found');
});
