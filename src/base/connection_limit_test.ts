import assert from "node:assert/strict";
import { ConnectionLimit, type ConnectionLimits, type LimitedSocket } from "./connection_limit.ts";

const limits: ConnectionLimits = { total: 6, perAddress: 4, pendingMs: 60_000 };

interface FakeSocket extends LimitedSocket {
  destroyed: boolean;
  close(): void;
}

function dialler(limit: ConnectionLimit) {
  const all: FakeSocket[] = [];
  const dial = (remoteAddress: string) => {
    let closed = () => {};
    const socket: FakeSocket = {
      remoteAddress,
      destroyed: false,
      destroy: () => socket.destroyed = true,
      once: (_, listener) => closed = listener,
      close: () => closed(),
    };
    all.push(socket);
    return Object.assign(socket, { admission: limit.admit(socket) });
  };
  /** Ends what is open, and with it the timers. */
  return { dial, [Symbol.dispose]: () => all.forEach((socket) => socket.close()) };
}

Deno.test("an address at its limit loses its own oldest pending connection", () => {
  const limit = new ConnectionLimit(limits);
  using t = dialler(limit);
  const other = t.dial("10.0.0.2");
  const own = [1, 2, 3, 4].map(() => t.dial("10.0.0.1"));
  own[0]!.admission!.established();
  t.dial("10.0.0.1");
  assert.deepEqual(own.map(({ destroyed }) => destroyed), [false, true, false, false]);
  assert.ok(!other.destroyed);
  assert.deepEqual(limit.counts(), { open: 5, pending: 4, overdue: 0, evicted: 1, refused: 0 });
});

Deno.test("when all places are taken, the address with the most pending ones gives one up", () => {
  const limit = new ConnectionLimit(limits);
  using t = dialler(limit);
  const honest = t.dial("10.0.0.9");
  const many = [1, 2, 3, 4].map(() => t.dial("10.0.0.1"));
  const second = t.dial("10.0.0.2");
  const late = t.dial("10.0.0.3");
  assert.ok(late.admission !== undefined);
  assert.ok(!honest.destroyed && !second.destroyed);
  assert.deepEqual(many.map(({ destroyed }) => destroyed), [true, false, false, false]);
});

Deno.test("established connections stay, and new ones are refused", () => {
  const limit = new ConnectionLimit(limits);
  using t = dialler(limit);
  const held = ["1", "1", "1", "2", "2", "2"].map((end) => t.dial(`10.0.0.${end}`));
  held.forEach(({ admission }) => admission!.established());
  const refused = t.dial("10.0.0.3");
  assert.equal(refused.admission, undefined);
  assert.ok(refused.destroyed);
  assert.ok(held.every(({ destroyed }) => !destroyed));
  held[0]!.close();
  assert.ok(t.dial("10.0.0.3").admission !== undefined);
  assert.deepEqual(limit.counts(), { open: 6, pending: 1, overdue: 0, evicted: 0, refused: 1 });
});

Deno.test("a connection that stays pending is closed at its deadline", async () => {
  const limit = new ConnectionLimit({ ...limits, pendingMs: 20 });
  using t = dialler(limit);
  const [slow, good] = [t.dial("10.0.0.1"), t.dial("10.0.0.1")];
  good.admission!.established();
  while (!slow.destroyed) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(!good.destroyed);
  assert.deepEqual(limit.counts(), { open: 1, pending: 0, overdue: 1, evicted: 0, refused: 0 });
});

Deno.test("addresses of one IPv6 network, and both forms of an IPv4 address, count as one", () => {
  const one = { ...limits, perAddress: 1 };
  for (
    const [first, second, same] of [
      ["fd00:1:2:3::1", "fd00:1:2:3:4:5:6:7", true],
      ["fd00:1:2:3::1", "fd00:1:2:4::1", false],
      ["::1", "0:0:0:0:0:0:0:2", true],
      ["fe80::1%eth0", "fe80::2", true],
      ["::ffff:10.0.0.1", "10.0.0.1", true],
      ["10.0.0.1", "10.0.0.2", false],
    ] as const
  ) {
    const limit = new ConnectionLimit(one);
    using t = dialler(limit);
    const before = t.dial(first);
    t.dial(second);
    assert.equal(before.destroyed, same, `${first} ${second}`);
  }
});

Deno.test("a connection whose client has the turn makes room, the one that waits longest first", () => {
  const limit = new ConnectionLimit(limits);
  using t = dialler(limit);
  const held = ["1", "1", "1", "2", "2", "2"].map((end) => t.dial(`10.0.0.${end}`));
  held.forEach(({ admission }) => admission!.established());
  held[1]!.admission!.waiting();
  held[2]!.admission!.waiting();
  held[1]!.admission!.established();
  const third = t.dial("10.0.0.3");
  assert.ok(third.admission !== undefined);
  assert.deepEqual(held.map(({ destroyed }) => destroyed), [
    false,
    false,
    true,
    false,
    false,
    false,
  ]);
  third.admission.established();
  assert.equal(t.dial("10.0.0.4").admission, undefined, "all the others work for their clients");
});

Deno.test("pending connections make room before waiting ones", () => {
  const limit = new ConnectionLimit(limits);
  using t = dialler(limit);
  const [waiting, pending] = [1, 2, 3, 4].map(() => t.dial("10.0.0.1"));
  waiting!.admission!.waiting();
  t.dial("10.0.0.1");
  assert.ok(pending!.destroyed && !waiting!.destroyed);
});
