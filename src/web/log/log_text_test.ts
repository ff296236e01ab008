import assert from "node:assert/strict";
import { segments } from "./colours.ts";
import { logRows } from "./log_rows.ts";
import { lineText, LogText } from "./log_text.ts";

function textOf(log: LogText): string[] {
  return log.lines.map(({ stream, text }) => `${stream === "stderr" ? "!" : " "}${text}`);
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

Deno.test("lines are made of pieces that end anywhere, also within a character", () => {
  const log = new LogText();
  const whole = bytes("one\ntwo ü\n\nthree");
  for (const [at] of whole.entries()) log.append("stdout", at, whole.slice(at, at + 1));
  assert.deepEqual(textOf(log), [" one", " two ü", " ", " three"]);
  assert.equal(log.end.stdout, whole.length);
});

Deno.test("a line that is not complete goes on where it began, whatever the other stream writes", () => {
  const log = new LogText();
  log.append("stdout", 0, bytes("loading "));
  log.append("stderr", 0, bytes("careful\n"));
  log.append("stdout", 8, bytes("done\nnext\n"));
  assert.deepEqual(textOf(log), [" loading done", "!careful", " next"]);
});

Deno.test("bytes that are repeated after a new connection are shown once", () => {
  const log = new LogText();
  log.append("stdout", 100, bytes("one\ntwo"));
  log.append("stdout", 100, bytes("one\ntwo"));
  log.append("stdout", 104, bytes("two and more\n"));
  assert.deepEqual(textOf(log), [" one", " two and more"]);
  assert.ok(log.hasEarlier);
});

Deno.test("the last state of a progress bar is shown, and nothing that moves a cursor", () => {
  assert.equal(lineText("10 %\r20 %\r100 %\r"), "100 %");
  assert.equal(lineText("\x1b]0;title\x07a\x1b[2K\x1b[1;1Hb\x00\x08"), "ab");
  assert.equal(lineText("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"), "link");
  assert.equal(lineText("a\tb"), "a       b");
  assert.equal(lineText("a\u202eb"), "a\\u202eb");
  assert.equal(lineText("\x1b[31ma\x1b[0m\tb"), "\x1b[31ma\x1b[0m       b");
});

Deno.test("a colour goes on until it is reset, also over the end of the line", () => {
  const log = new LogText();
  log.append("stdout", 0, bytes("\x1b[31mred\nstill\x1b[0m not\nplain\n"));
  const shown = log.lines.map((line) =>
    segments(line, 0, line.width).map(({ text, classes }) => `${text}:${classes}`)
  );
  assert.deepEqual(shown, [
    ["red:fg-ansi-red"],
    ["still:fg-ansi-red", " not:"],
    ["plain:"],
  ]);
});

Deno.test("colours of the 256 and of the full palette are styles, those of the terminal classes", () => {
  const log = new LogText();
  log.append("stdout", 0, bytes("\x1b[38;5;196ma\x1b[48;2;1;2;3mb\x1b[0;1;92mc\x1b[0;7md"));
  const [line] = log.lines;
  assert.deepEqual(segments(line!, 0, 4), [
    { text: "a", classes: "", style: { color: "rgb(255, 0, 0)" } },
    { text: "b", classes: "", style: { color: "rgb(255, 0, 0)", background: "rgb(1, 2, 3)" } },
    { text: "c", classes: "fg-ansi-bright-green ansi-bold", style: {} },
    { text: "d", classes: "fg-ansi-black bg-ansi-white", style: {} },
  ]);
});

Deno.test("a wide line becomes rows, and colours count no columns", () => {
  const log = new LogText();
  log.append("stdout", 0, bytes("\x1b[31m12345\x1b[0m67890\n\nab\n"));
  const rows = logRows(log.lines, 4);
  assert.deepEqual(rows.map(({ from, to }) => `${from}-${to}`), [
    "0-4",
    "4-8",
    "8-10",
    "0-0",
    "0-2",
  ]);
  assert.deepEqual(segments(rows[1]!.line, 4, 8).map(({ text }) => text), ["5", "678"]);
  assert.equal(logRows(log.lines, 0).length, 3);
});

Deno.test("a line without an end is cut, and a log without an end keeps its newest lines", () => {
  const log = new LogText();
  log.append("stdout", 0, bytes("x".repeat(25_000)));
  assert.deepEqual(log.lines.map(({ width }) => width), [10_000, 10_000, 5_000]);
  const many = bytes("line\n".repeat(260_000));
  log.append("stdout", 25_000, many);
  assert.ok(log.lines.length <= 250_000 && log.hasEarlier && log.isTrimmed);
});
