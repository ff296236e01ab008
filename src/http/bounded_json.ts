/**
 * JSON of callers. Its size alone says little about its cost: parsing 2 MB of one string takes a few
 * milliseconds, 2 MB of short fields take hundreds, in which nothing else runs. So what it consists
 * of is counted first, which takes a few milliseconds in any case.
 */

/** More than any request of ours has: a task with 10,000 arguments and 1,000 variables. */
const maxValues = 20_000;
/** Requests have 3 levels. */
const maxDepth = 32;

/** @throws {SyntaxError} where it is not JSON, or has more values or levels than a request can have. */
export function parseBoundedJson(bytes: Uint8Array, most = maxValues): unknown {
  countValues(bytes, most);
  return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
}

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [openArray, closeArray, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

function countValues(bytes: Uint8Array, most: number): void {
  let values = 0;
  let depth = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === quote) at = endOfString(bytes, at);
    else if (byte === comma) values++;
    else if (byte === openArray || byte === openObject) {
      values++;
      depth++;
    } else if (byte === closeArray || byte === closeObject) depth--;
    if (values > most) throw new SyntaxError(`It has more than ${most} values`);
    if (depth > maxDepth) throw new SyntaxError(`It has more than ${maxDepth} levels`);
  }
}

/** Where the string that starts at `start` has its closing quote, or the end of the text. */
function endOfString(bytes: Uint8Array, start: number): number {
  let at = start + 1;
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
  return at;
}
