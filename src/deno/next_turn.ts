/**
 * The runtime takes new input when it has nothing to do, else only once in 61 turns. So after this time
 * there is a moment of rest, which costs a millisecond.
 */
const restEveryMs = 15;

/** A timer that is late says that there was other work instead. */
const [lateMs, mostRests] = [3, 5];

let restedAt = -Infinity;

/** The next turn of the event loop, after this turn's input and output, or after new input. */
export async function nextTurn(): Promise<void> {
  if (performance.now() - restedAt < restEveryMs) {
    return await new Promise((resolve) => setImmediate(resolve));
  }
  for (let tries = 0; tries < mostRests; tries++) {
    const began = performance.now();
    await new Promise<void>((resolve) => setTimeout(resolve, 1));
    if (performance.now() - began < lateMs) break;
  }
  restedAt = performance.now();
}
