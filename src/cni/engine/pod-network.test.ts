import { expect, test } from 'vitest';
import { type CniResult, emptyResult } from '../spec/index.ts';
import { podNetworkOf } from './pod-network.ts';

function ipsOf(result: Partial<CniResult>): string[] {
  return podNetworkOf([{ ...emptyResult(), ...result }]).ips;
}

const interfaces = [
  { name: 'cni0' },
  { name: 'eth0', sandbox: '/run/netns/x' },
  { name: 'net1', sandbox: '/run/netns/x' },
];

test('the first IPv4 address comes first, the others keep their order', () => {
  const addresses = ['fd00::2/64', '10.0.0.2/8', 'fd00::3/64', '10.0.0.3/8'];
  const ips = addresses.map((address) => ({ address, interface: 1 }));
  expect(ipsOf({ interfaces, ips })).toEqual(['10.0.0.2', 'fd00::2', 'fd00::3', '10.0.0.3']);
  expect(ipsOf({ ips: [{ address: 'fd00::2/64' }] })).toEqual(['fd00::2']);
});

test('addresses of the host or of other interfaces are not the pod’s', () => {
  const ips = [
    { address: '10.0.0.1/8', interface: 0 },
    { address: '10.0.0.3/8', interface: 2 },
    { address: '10.0.0.2/8', interface: 1 },
  ];
  expect(ipsOf({ interfaces, ips })).toEqual(['10.0.0.2']);
});

test('an interface of another name will do when there is none of the right one', () => {
  const ips = [{ address: '10.0.0.3/8', interface: 2 }];
  expect(ipsOf({ interfaces, ips })).toEqual(['10.0.0.3']);
});

test('only the first network counts, and it may have no address', () => {
  const second = { ...emptyResult(), ips: [{ address: '10.0.0.2/8' }] };
  expect(podNetworkOf([emptyResult(), second]).ips).toEqual([]);
  expect(podNetworkOf([]).ips).toEqual([]);
});
