import { baseId, elementId } from "../tasks/ids.ts";

/**
 * Tasks that a call is about, each once. An array, which may have 10,000 elements, takes four bytes for
 * each: a few hundred calls at a time would otherwise hold gigabytes of ids.
 */
export class TaskList implements Iterable<string> {
  /** By the id of the task or array: where its tasks begin, and an array's elements, ascending. */
  readonly #parts = new Map<string, { from: number; elements: Uint32Array | undefined }>();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Whether it is one task that was named by its own id. */
  get isTask(): boolean {
    const [part] = this.#parts.values();
    return this.#length === 1 && part!.elements === undefined;
  }

  /** @param elements the numbers of an array's elements, ascending; undefined for a task. */
  add(id: string, elements?: Uint32Array): void {
    if (this.positionOf(id) !== undefined || this.#parts.has(id)) return;
    this.#parts.set(id, { from: this.#length, elements });
    this.#length += elements?.length ?? 1;
  }

  *[Symbol.iterator](): Generator<string> {
    for (const [id, { elements }] of this.#parts) {
      if (elements === undefined) yield id;
      else for (const index of elements) yield elementId(id, index);
    }
  }

  /** The position of a task in the order of the list, from 0. */
  positionOf(id: string): number | undefined {
    const own = this.#parts.get(id);
    if (own !== undefined) return own.elements === undefined ? own.from : undefined;
    const array = baseId(id);
    const { from, elements } = this.#parts.get(array) ?? {};
    if (from === undefined || elements === undefined) return undefined;
    const at = indexIn(elements, Number(id.slice(array.length + 1)));
    return at === undefined ? undefined : from + at;
  }
}

/** Which tasks of a list there is still something to say of. */
export class OpenTasks {
  readonly #isOver: Uint8Array;
  #open: number;

  /** @param isOpen whether all are at first, or none. */
  constructor(private readonly tasks: TaskList, isOpen: boolean) {
    this.#isOver = new Uint8Array(tasks.length).fill(isOpen ? 0 : 1);
    this.#open = isOpen ? tasks.length : 0;
  }

  get size(): number {
    return this.#open;
  }

  has(id: string): boolean {
    const at = this.tasks.positionOf(id);
    return at !== undefined && this.#isOver[at] === 0;
  }

  set(id: string, isOpen: boolean): void {
    const at = this.tasks.positionOf(id);
    if (at === undefined || (this.#isOver[at] === 0) === isOpen) return;
    this.#isOver[at] = isOpen ? 0 : 1;
    this.#open += isOpen ? 1 : -1;
  }
}

/** All of them, some at a time. */
export function* inParts<T>(all: Iterable<T>, size: number): Generator<T[]> {
  let part: T[] = [];
  for (const each of all) {
    if (part.push(each) < size) continue;
    yield part;
    part = [];
  }
  if (part.length > 0) yield part;
}

/** Binary search. */
function indexIn(sorted: Uint32Array, wanted: number): number | undefined {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < wanted) low = middle + 1;
    else high = middle;
  }
  return sorted[low] === wanted ? low : undefined;
}
