import type { Order, StartOrder } from "../tasks/orders.ts";

/**
 * Orders come from the thread that holds the sockets. Even if an attacker controls that thread:
 * anything that is not an order, or names a file outside of the runner's folders, is refused here.
 *
 * @throws {TypeError} with what is wrong.
 */
export function validateOrder(order: unknown): Order {
  if (typeof order !== "object" || order === null) throw new TypeError("not an order");
  const { kind } = order as { kind?: unknown };
  const shape = typeof kind === "string" && Object.hasOwn(shapes, kind)
    ? shapes[kind as Order["kind"]]
    : undefined;
  if (shape === undefined) throw new TypeError(`no such order: ${String(kind)}`);
  for (const [field, holds] of Object.entries(shape)) {
    if (!holds((order as Record<string, unknown>)[field])) {
      throw new TypeError(`${kind}: bad ${field}`);
    }
  }
  return order as Order;
}

type Holds = (value: unknown) => boolean;

const isText: Holds = (value) => typeof value === "string" && !value.includes("\0");
/** A name of a file: parts without a dot of their own cannot lead elsewhere. */
const isKey: Holds = (value) =>
  typeof value === "string" && value.length <= 200 && /^[\w-]+(\.[\w-]+){2,4}$/.test(value);
const isCount: Holds = (value) => typeof value === "number" && Number.isFinite(value) && value >= 0;
const isTexts: Holds = (value) => Array.isArray(value) && value.every(isText);
const optional = (holds: Holds): Holds => (value) => value === undefined || holds(value);
const isEnv: Holds = (value) =>
  typeof value === "object" && value !== null &&
  Object.entries(value).every(([name, content]) =>
    name !== "" && isText(name) && !name.includes("=") && isText(content)
  );

/** Names become a part of the names of variables. */
const isGranted: Holds = (value) =>
  typeof value === "object" && value !== null &&
  Object.entries(value).every(([name, numbers]) =>
    /^[a-z][a-z0-9_]*$/.test(name) && Array.isArray(numbers) && numbers.every(Number.isSafeInteger)
  );

const shapes: Record<Order["kind"], Record<string, Holds>> = {
  start: {
    key: isKey,
    lease: isText,
    taskId: isText,
    arrayIndex: optional(isCount),
    argv: (value) => isTexts(value) && (value as string[]).length > 0,
    env: isEnv,
    cwd: optional(isText),
    timeoutMs: optional(isCount),
    granted: optional(isGranted),
    stdin: optional((value) => value instanceof Uint8Array),
    artifacts: isTexts,
  } satisfies Record<Exclude<keyof StartOrder, "kind">, Holds>,
  end: {
    key: isKey,
    cause: (value) => value === "cancelled" || value === "lost",
    graceMs: isCount,
  },
  taken: {
    key: isKey,
    stream: (value) => value === "stdout" || value === "stderr",
    bytes: isCount,
  },
  renew: { lease: isText, forMs: isCount, sentAt: isCount },
  test: {},
  forget: { key: isKey },
};
