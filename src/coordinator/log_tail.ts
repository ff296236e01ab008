import type { Clock } from "../base/clock.ts";
import type { LogOffsets } from "../tasks/service.ts";

type Stream = keyof LogOffsets;

/** The most that a follower that reads steadily is behind. */
const mostBytes = 2 * 1024 * 1024;
/** Small pieces cost by their number, not by their bytes. */
const mostPieces = 64;

/** How long an upload waits for a follower: some round trips, and no harm to a task. */
const waitMs = 25;

/** A follower's view, from any offset on. */
export interface TailReader extends Disposable {
  /** Some bytes from `offset` on; undefined where they are not here. All before it has been read. */
  next(stream: Stream, offset: number): Uint8Array | undefined;
}

interface Place {
  /** What the reader asked for last. */
  at: Partial<LogOffsets>;
  /** Has come near to the end, and was not too slow since. */
  isClose: boolean;
}

/**
 * The newest bytes of one attempt's logs, kept while somebody follows them: they are handed on as
 * they came, and need not be read back from the file that they were written to.
 *
 * An upload that is faster than its followers is held up a little, or they would fall behind what is
 * kept, and read the file for the rest of it. A follower that is too slow even so is not waited for
 * again until it has caught up.
 */
export class LogTail {
  #pieces: { stream: Stream; offset: number; data: Uint8Array }[] = [];
  #bytes = 0;
  readonly #ends: LogOffsets = { stdout: 0, stderr: 0 };
  readonly #places = new Set<Place>();
  #moved = Promise.withResolvers<"moved">();

  constructor(readonly clock: Clock) {}

  get isFollowed(): boolean {
    return this.#places.size > 0;
  }

  /** What has just been written at `offset`. */
  add(stream: Stream, offset: number, data: Uint8Array): void {
    this.#pieces.push({ stream, offset, data });
    this.#bytes += data.length;
    this.#ends[stream] = offset + data.length;
    while (this.#bytes > mostBytes || this.#pieces.length > mostPieces) {
      this.#bytes -= this.#pieces.shift()!.data.length;
    }
  }

  /** Settles when those who follow closely are not far behind, or have been given up. */
  async room(): Promise<void> {
    if (this.#lagging().length === 0) return;
    const enough = new AbortController();
    const late = this.clock.sleep(waitMs, enough.signal).then(() => "late", () => "late");
    let came;
    do came = await Promise.race([this.#moved.promise, late]); while (
      came === "moved" && this.#lagging().length > 0
    );
    enough.abort();
    for (const place of this.#lagging()) place.isClose = false;
  }

  follow(): TailReader {
    const place: Place = { at: {}, isClose: false };
    this.#places.add(place);
    return {
      next: (stream, offset) => {
        place.at[stream] = offset;
        this.#tellMoved();
        const piece = this.#pieces.find((each) =>
          each.stream === stream && each.offset <= offset &&
          offset < each.offset + each.data.length
        );
        if (piece !== undefined && this.#behind(place) <= mostBytes / 4) place.isClose = true;
        return piece?.data.subarray(offset - piece.offset);
      },
      [Symbol.dispose]: () => {
        this.#places.delete(place);
        this.#tellMoved();
      },
    };
  }

  #lagging(): Place[] {
    return [...this.#places].filter((place) =>
      place.isClose && this.#behind(place) > mostBytes / 2
    );
  }

  #behind({ at }: Place): number {
    const { stdout, stderr } = this.#ends;
    return stdout - (at.stdout ?? stdout) + stderr - (at.stderr ?? stderr);
  }

  #tellMoved(): void {
    this.#moved.resolve("moved");
    this.#moved = Promise.withResolvers();
  }
}
