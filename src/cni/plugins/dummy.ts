import { createLink } from '../../linux/index.ts';
import type { Plugin } from '../spec/index.ts';
import { podLinkPlugin } from './pod-link.ts';

/** Gives a container a link with addresses that leads nowhere. */
export function dummy(): Plugin {
  return podLinkPlugin({
    type: 'dummy',
    kind: 'dummy',
    ipam: 'required',
    sysctls: {},
    create: ({ call, pod }) =>
      pod.change(createLink({ name: call.ifname, kind: { type: 'dummy' } })),
  });
}
