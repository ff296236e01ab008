/** Crockford's base 32: no letter that is mistaken for a digit, sorts as the number does. */
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";

/** 45 bits of milliseconds: enough until the year 3084. */
const timeLength = 9;
/** 25 bits, counted up within one millisecond. */
const randomLength = 5;
const randomSpan = 32 ** randomLength;

function base32(number: number, length: number): string {
  let text = "";
  for (let rest = number; text.length < length; rest = Math.floor(rest / 32)) {
    text = alphabet[rest % 32]! + text;
  }
  return text;
}

function fromBase32(text: string): number {
  return [...text].reduce((sum, letter) => sum * 32 + Math.max(0, alphabet.indexOf(letter)), 0);
}

/**
 * Makes ids of 14 letters that sort in the order in which they were made, also when the clock goes
 * back, also after those of an earlier start.
 *
 * @param newest the newest id of earlier starts.
 */
export function idMaker(
  options: { now: () => number; random?: () => number; newest?: string | undefined },
): () => string {
  const random = options.random ?? Math.random;
  let time = options.newest === undefined ? 0 : fromBase32(options.newest.slice(0, timeLength));
  let counter = options.newest === undefined
    ? 0
    : fromBase32(options.newest.slice(timeLength, timeLength + randomLength));
  return () => {
    const now = options.now();
    if (now > time) {
      time = now;
      // The lower half, so that it can be counted up.
      counter = Math.floor(random() * randomSpan / 2);
    } else if (++counter >= randomSpan) {
      time += 1;
      counter = 0;
    }
    return base32(time, timeLength) + base32(counter, randomLength);
  };
}

/** Whether a text has the form of an id: of a task, an array or an element. */
export function isTaskId(text: string): boolean {
  return /^[0-9a-hjkmnp-tv-z]{14}(\.(0|[1-9]\d{0,9}))?$/.test(text);
}

/** The id of the array for an element; else the id itself. */
export function baseId(id: string): string {
  const dot = id.indexOf(".");
  return dot < 0 ? id : id.slice(0, dot);
}

/** The array and index of an element; undefined for other tasks. */
export function elementOf(id: string) {
  const arrayId = baseId(id);
  if (arrayId === id) return { arrayId: undefined, arrayIndex: undefined };
  return { arrayId, arrayIndex: Number(id.slice(arrayId.length + 1)) };
}

export function elementId(arrayId: string, index: number): string {
  return `${arrayId}.${index}`;
}
