/** Nanoseconds in one tick of the packet scheduler (PSCHED_SHIFT in net/pkt_sched.h). */
export const NANOSECONDS_PER_TICK = 64;

/** How long the burst takes at the rate: whole microseconds, as ticks. */
export function burstTicks({ rate, burst }: { rate: bigint; burst: number }): number {
  const microseconds = Math.floor((burst * 1e6) / Number(rate));
  return Math.min(0xffffffff, Math.floor((microseconds * 1000) / NANOSECONDS_PER_TICK));
}

/** struct tcmsg. */
export function trafficHeader(tc: {
  link: number;
  handle?: number;
  parent?: number;
  info?: number;
}): Buffer {
  const buffer = Buffer.alloc(20);
  buffer.writeInt32LE(tc.link, 4);
  buffer.writeUInt32LE(tc.handle ?? 0, 8);
  buffer.writeUInt32LE(tc.parent ?? 0, 12);
  buffer.writeUInt32LE((tc.info ?? 0) >>> 0, 16);
  return buffer;
}
