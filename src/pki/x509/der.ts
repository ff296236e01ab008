/**
 * Reads DER (ITU-T X.690), as far as certificates need it. Every role reads certificates at its start,
 * and loading @peculiar/x509 for that would add about 50 ms to a start of 100 ms.
 */

/** Bytes that are not shared between threads, as the platform's functions want them. */
export type Bytes = Uint8Array<ArrayBuffer>;

export interface Der {
  /** The whole identifier octet; tags above 30 do not occur in certificates and are refused. */
  tag: number;
  /** The element with its header. */
  raw: Bytes;
  /** The element without its header. */
  value: Bytes;
}

export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  teletexString: 0x14,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Bytes that are not the DER that they should be. */
export class DerError extends Error {
  override name = "DerError";
}

/** Reads one element; what follows it is an error. */
export function readDer(bytes: Bytes, expected?: number): Der {
  const { element, end } = next(bytes, 0);
  if (end !== bytes.length) throw new DerError("something follows the end");
  if (expected !== undefined && element.tag !== expected) throw wrongTag(element.tag, expected);
  return element;
}

/** Reads the elements within a constructed one. */
export function children(parent: Der): Der[] {
  const all: Der[] = [];
  for (let at = 0; at < parent.value.length;) {
    const { element, end } = next(parent.value, at);
    all.push(element);
    at = end;
  }
  return all;
}

/** The child at a place, with the tag that it must have. */
export function child(all: Der[], index: number, expected?: number): Der {
  const found = all[index];
  if (found === undefined) throw new DerError("an element is missing");
  if (expected !== undefined && found.tag !== expected) throw wrongTag(found.tag, expected);
  return found;
}

export function readOid(element: Der): string {
  if (element.tag !== tag.oid || element.value.length === 0) throw wrongTag(element.tag, tag.oid);
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of element.value) {
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER) throw new DerError("an object identifier is too long");
    if (byte & 0x80) continue;
    arcs.push(arc);
    arc = 0;
  }
  const first = arcs[0] ?? 0;
  const top = Math.min(2, Math.floor(first / 40));
  return [top, first - top * 40, ...arcs.slice(1)].join(".");
}

/** Reads a string of any of the kinds that names are made of. */
export function readText({ tag: kind, value }: Der): string {
  if (kind === tag.bmpString) return new TextDecoder("utf-16be").decode(value);
  if (kind === tag.teletexString) return new TextDecoder("latin1").decode(value);
  return new TextDecoder().decode(value);
}

/** Reads UTCTime and GeneralizedTime in the only form that RFC 5280 section 4.1.2.5 allows. */
export function readTime(element: Der): Date {
  const text = new TextDecoder("latin1").decode(element.value);
  const digits = element.tag === tag.utcTime
    ? /^(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text)
    : element.tag === tag.generalizedTime
    ? /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text)
    : null;
  if (digits === null) throw new DerError("a time is malformed");
  const [year, month, day, hour, minute, second] = digits.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  // Two digits stand for 1950 to 2049.
  const fullYear = element.tag === tag.generalizedTime ? year : year + (year < 50 ? 2000 : 1900);
  const time = new Date(0);
  time.setUTCFullYear(fullYear, month - 1, day);
  time.setUTCHours(hour, minute, second);
  if (
    time.getUTCDate() !== day || time.getUTCMonth() !== month - 1 || time.getUTCHours() !== hour
  ) {
    throw new DerError("a time does not exist");
  }
  return time;
}

/** The bits of a BIT STRING that are set, counted from the first. */
export function readBits(element: Der): Set<number> {
  if (element.tag !== tag.bitString || element.value.length === 0) {
    throw wrongTag(element.tag, tag.bitString);
  }
  const bits = new Set<number>();
  element.value.subarray(1).forEach((byte, index) => {
    for (let bit = 0; bit < 8; bit++) if (byte & (0x80 >> bit)) bits.add(index * 8 + bit);
  });
  return bits;
}

function next(bytes: Bytes, at: number): { element: Der; end: number } {
  const identifier = bytes[at];
  const first = bytes[at + 1];
  if (identifier === undefined || first === undefined) throw new DerError("it ends too early");
  if ((identifier & 0x1f) === 0x1f) throw new DerError("it has a tag that certificates do not use");
  let start = at + 2;
  let length = first;
  if (first & 0x80) {
    const count = first & 0x7f;
    // Four bytes of length exceed the largest file that is read.
    if (count === 0 || count > 4) throw new DerError("a length is malformed");
    length = 0;
    for (let i = 0; i < count; i++) {
      const byte = bytes[start++];
      if (byte === undefined) throw new DerError("it ends too early");
      length = length * 256 + byte;
    }
  }
  const end = start + length;
  if (end > bytes.length) throw new DerError("it ends too early");
  return {
    element: { tag: identifier, raw: bytes.subarray(at, end), value: bytes.subarray(start, end) },
    end,
  };
}

function wrongTag(found: number, expected: number): DerError {
  return new DerError(`it has tag ${found} where ${expected} belongs`);
}
