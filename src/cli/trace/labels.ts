import type { OpenSpan } from '../../base/index.ts';
import { humanSize, printable, truncatedId } from '../human.ts';

/** What a span did, in a few words. */
export function labelOf({ name, attributes }: Pick<OpenSpan, 'name' | 'attributes'>): string {
  const text = (key: string) => String(attributes[key] ?? '');
  const [kind = '', what = ''] = name.split('.');
  switch (kind) {
    case 'cri':
      return joined(what, subject(text));
    case 'cni':
      return joined('CNI', what, text('plugin'), onNetwork(text), program(text), result(text));
    case 'oci':
      return joined(text('runtime'), what, text('id') ? truncatedId(text('id')) : args(text));
    case 'registry':
      return joined(
        what,
        `${text('host')}${shortIds(text('path'))}`,
        text('status') && `→ ${text('status')}`,
      );
    case 'mount':
      return joined('mount', what, layers(text('layers')));
    case 'namespace':
      return joined('create', text('type'), 'namespace');
    case 'image':
      return joined(what, text('image') || truncatedId(text('digest')), size(text('size')));
    default:
      return printable(name);
  }
}

/** A duration as a person reads it at a glance. `milliseconds` may have a fraction. */
export function durationOf(milliseconds: number): string {
  if (milliseconds < 1000) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(2)} s`;
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

type Text = (key: string) => string;

function joined(...words: readonly string[]): string {
  return printable(words.filter((word) => word !== '').join(' '));
}

/** The most telling of what a call is about: its container, pod or image. */
function subject(text: Text): string {
  if (text('container') !== '')
    return joined(text('container'), text('pod') && `in ${text('pod')}`);
  return text('image') || text('pod') || truncatedId(text('containerId') || text('podId'));
}

function onNetwork(text: Text): string {
  return text('network') === '' ? '' : `on "${text('network')}"`;
}

function program(text: Text): string {
  return text('program') === 'builtin' ? '' : `by ${text('program')}`;
}

function args(text: Text): string {
  return shortIds(text('args'));
}

/** The addresses that a plugin gave. */
function result(text: Text): string {
  try {
    const { ips } = JSON.parse(text('result')) as { ips?: { address?: string }[] };
    const addresses = (ips ?? []).flatMap(({ address }) => address ?? []);
    return addresses.length === 0 ? '' : `→ ${addresses.join(', ')}`;
  } catch {
    return ''; // There is none, or it was too long to be kept whole.
  }
}

function shortIds(text: string): string {
  return text.replace(/[0-9a-f]{64}/g, truncatedId);
}

function layers(count: string): string {
  if (count === '') return '';
  return count === '1' ? 'of 1 layer' : `of ${count} layers`;
}

function size(bytes: string): string {
  return bytes === '' ? '' : `(${humanSize(Number(bytes), 3)})`;
}
