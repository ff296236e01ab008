/** Writes DER (ITU-T X.690), just enough for certificates; the counterpart of der.ts. */
import { type Bytes, tag } from "./der.ts";

/** One element: its tag, its length, and the parts that it is made of. */
export function element(identifier: number, ...parts: Uint8Array[]): Bytes {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const lengthBytes: number[] = [];
  for (let left = length; left > 0; left = Math.floor(left / 256)) lengthBytes.unshift(left % 256);
  const header = length < 128
    ? [identifier, length]
    : [identifier, 0x80 | lengthBytes.length, ...lengthBytes];
  const all = new Uint8Array(header.length + length);
  all.set(header);
  let at = header.length;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function sequence(...parts: Uint8Array[]): Bytes {
  return element(tag.sequence, ...parts);
}

/** Explicitly tagged: `[number]` around the parts. */
export function explicit(number: number, ...parts: Uint8Array[]): Bytes {
  return element(0xa0 | number, ...parts);
}

/** A number that is not negative, from its big-endian bytes. */
export function integer(bytes: Uint8Array): Bytes {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const shortest = bytes.subarray(start);
  // A set first bit would make it negative.
  return (shortest[0] ?? 0) >= 0x80
    ? element(tag.integer, new Uint8Array(1), shortest)
    : element(tag.integer, shortest.length === 0 ? new Uint8Array(1) : shortest);
}

export function oid(dotted: string): Bytes {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      groups.unshift(0x80 | (left % 128));
    }
    return groups;
  });
  return element(tag.oid, new Uint8Array(bytes));
}

export function octetString(bytes: Uint8Array): Bytes {
  return element(tag.octetString, bytes);
}

export function bitString(bytes: Uint8Array): Bytes {
  return element(tag.bitString, new Uint8Array(1), bytes);
}

/** Named bits, as key usage has them: no zero bits at the end. */
export function namedBits(bits: number[]): Bytes {
  const last = Math.max(...bits);
  const bytes = new Uint8Array(1 + Math.floor(last / 8) + 1);
  bytes[0] = 7 - last % 8;
  for (const bit of bits) bytes[1 + Math.floor(bit / 8)]! |= 0x80 >> (bit % 8);
  return element(tag.bitString, bytes);
}

export function utf8String(text: string): Bytes {
  return element(0x0c, new TextEncoder().encode(text));
}

export const derTrue: Bytes = element(tag.boolean, new Uint8Array([0xff]));
export const derNull: Bytes = element(0x05);

/** UTCTime until 2049, GeneralizedTime from then on (RFC 5280 section 4.1.2.5). */
export function time(date: Date): Bytes {
  const digits = date.toISOString().replace(/[-:T]/g, "").slice(0, 14);
  const isLate = date.getUTCFullYear() >= 2050;
  const text = new TextEncoder().encode(`${isLate ? digits : digits.slice(2)}Z`);
  return element(isLate ? tag.generalizedTime : tag.utcTime, text);
}
