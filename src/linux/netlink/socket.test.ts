import { expect, test } from 'vitest';
import { decodeLink, getLink } from './links.ts';
import { NETLINK, NetlinkSocket } from './socket.ts';

test('a thousand requests at once are answered', async () => {
  const sockets = Array.from({ length: 250 }, () => new NetlinkSocket(NETLINK.ROUTE));
  try {
    const answers = await Promise.all(
      [1, 2, 3, 4].flatMap(() => sockets.map((socket) => socket.get(getLink('lo')))),
    );
    expect(new Set(answers.map(({ body }) => decodeLink(body).name))).toEqual(new Set(['lo']));
    expect(answers).toHaveLength(1000);
  } finally {
    for (const socket of sockets) socket[Symbol.dispose]();
  }
});
