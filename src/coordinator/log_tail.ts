import type { Clock } from "../base/clock.ts";
import type { LogOffsets } from "../tasks/service.ts";

type Stream = keyof LogOffsets;

/** Bytes that are kept: a follower that keeps reading is never further behind. */
const mostBytes = 2 * 1024 * 1024;
/** Pieces that are kept: small ones cost by their number, not by their bytes. */
const mostPieces = 64;

/** How long an upload waits for a follower: several round trips, too short to slow a task down. */
const waitMs = 25;

/** Reads for one follower. */
export interface TailReader extends Disposable {
  /** Some bytes at `offset`; undefined if they are not kept. The follower has read everything before. */
  next(stream: Stream, offset: number): Uint8Array | undefined;
}

interface Place {
  /** The offsets that the reader asked for last. */
  at: Partial<LogOffsets>;
  /** The reader reached the end, and has kept up since. */
  isClose: boolean;
}

/**
 * Keeps the newest bytes of one attempt's logs while someone follows them, so that they need not be
 * read back from the file.
 *
 * An upload that is faster than its followers is slowed down a little. Otherwise they would fall
 * behind what is kept, and read the rest from the file. A follower that is still too slow is not
 * waited for until it has caught up.
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

  /** Keeps bytes that were just written at `offset`. */
  add(stream: Stream, offset: number, data: Uint8Array): void {
    this.#pieces.push({ stream, offset, data });
    this.#bytes += data.length;
    this.#ends[stream] = offset + data.length;
    while (this.#bytes > mostBytes || this.#pieces.length > mostPieces) {
      this.#bytes -= this.#pieces.shift()!.data.length;
    }
  }

  /** Resolves when all close followers have caught up, or after `waitMs`. */
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
