import { readFileSync } from 'node:fs';

/** Bytes of one side of a recorded session, the HTTP heads left out. */
export interface Segment {
  from: 'client' | 'server';
  bytes: Buffer;
}

export interface Capture {
  /** The request up to its empty line. */
  requestHead: string;
  responseHead: string;
  segments: Segment[];
}

/** The shortest segment that is taken for a retransmission when it comes twice in a row. */
const RETRANSMISSION = 10;

/**
 * Reads a recording of test/streaming/captures. TCP sometimes sent a segment twice; the
 * repetition is no part of the conversation.
 */
export function readCapture(name: string): Capture {
  const text = readFileSync(new URL(`captures/${name}.jsonl`, import.meta.url), 'utf8');
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { from: Segment['from']; data: string });
  const [request, response, ...rest] = lines.map(({ from, data }) => ({
    from,
    bytes: Buffer.from(data, 'base64'),
  }));
  const last: Partial<Record<Segment['from'], Buffer>> = {};
  const segments = rest.filter(({ from, bytes }) => {
    const isRepeated = bytes.length >= RETRANSMISSION && last[from]?.equals(bytes) === true;
    last[from] = bytes;
    return !isRepeated;
  });
  return {
    requestHead: String(request?.bytes),
    responseHead: String(response?.bytes),
    segments,
  };
}

/** All bytes of one side. */
export function sideOf(capture: Capture, from: Segment['from']): Buffer {
  return Buffer.concat(
    capture.segments.filter((segment) => segment.from === from).map(({ bytes }) => bytes),
  );
}

/** Cuts bytes into whole SPDY frames. */
export function cutFrames(bytes: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let rest = bytes; rest.length >= 8; ) {
    const size = 8 + rest.readUIntBE(5, 3);
    if (rest.length < size) break;
    frames.push(rest.subarray(0, size));
    rest = rest.subarray(size);
  }
  return frames;
}

/** What the frames of a side amount to, apart from how data was cut. */
export interface Conversation {
  data: Record<number, string>;
  ends: number[];
  /** SYN_STREAM, SYN_REPLY, RST_STREAM and GOAWAY frames, in hex. */
  replies: string[];
  resets: string[];
  goaway: string[];
}

export function summarise(frames: Buffer[]): Conversation {
  const seen: Conversation = { data: {}, ends: [], replies: [], resets: [], goaway: [] };
  for (const frame of frames) {
    if ((frame[0]! & 0x80) === 0) {
      const id = frame.readUInt32BE(0);
      seen.data[id] = (seen.data[id] ?? '') + frame.toString('latin1', 8);
      if (frame[4] === 1) seen.ends.push(id);
      continue;
    }
    const list = { 2: seen.replies, 3: seen.resets, 7: seen.goaway }[frame.readUInt16BE(2)];
    list?.push(frame.toString('hex'));
  }
  seen.ends.sort((a, b) => a - b);
  seen.resets.sort();
  return seen;
}
