import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { LogReader } from "../log/log_reader.ts";
import { logRows } from "../log/log_rows.ts";
import type { LogRequest } from "../log/log_source.ts";
import type { LogLine, Stream } from "../log/log_text.ts";
import { Command } from "../parts/copy.tsx";
import { formatBytes } from "../parts/format.ts";
import { Failure } from "../parts/problem.tsx";
import { isFinished } from "../parts/state.tsx";
import type { TaskView } from "../views.ts";
import { LogBox } from "./log_box.tsx";

/** What is read at first: some thousand lines, and quick over a slow line. */
const firstBytes = 256 * 1024;
/** For more there is `agent task logs`. */
const mostBytes = 16 * 1024 * 1024;

interface Options {
  streams: "both" | Stream;
  text: string;
  isWrapped: boolean;
  /** Keeps the newest line in view. */
  isFollowing: boolean;
}

/** The output of one attempt, from its end; live while the attempt runs. */
export function LogView({ task, attempt }: { task: TaskView; attempt: number }) {
  const place = useSignal<Pick<LogRequest, "from" | "bytes">>({ from: "end", bytes: firstBytes });
  const options = useSignal<Options>({
    streams: "both",
    text: "",
    isWrapped: true,
    isFollowing: true,
  });
  const reader = useMemo(() => new LogReader(), []);
  const facts = task.attempts.find((each) => each.attempt === attempt);
  const isOver = facts !== undefined && isFinished(facts.state);
  useEffect(() => {
    const leave = new AbortController();
    reader.read({ taskId: task.id, attempt, ...place.value }, isOver, leave.signal);
    return () => leave.abort();
  }, [place.value]);
  const { streams, text, isWrapped, isFollowing } = options.value;
  // Redraws when the text has changed.
  const version = reader.version.value;
  const lines = useMemo(
    () => chosen(reader.text.lines, streams, text),
    [version, streams, text],
  );
  const problem = reader.problem.value;
  return (
    <section class="log" aria-label="Output">
      <LogBar reader={reader} options={options} place={place} />
      {problem !== undefined && <Failure problem={problem} />}
      <Stretch reader={reader} version={version} place={place} taskId={task.id} />
      <LogBox
        label={`Output of attempt ${attempt}`}
        rowsFor={(columns) => logRows(lines, isWrapped ? columns : 0)}
        changed={lines}
        isWrapped={isWrapped}
        isFollowing={isFollowing}
        from={place.value.from}
        onFollow={(follows) => {
          if (follows !== options.value.isFollowing) {
            options.value = { ...options.value, isFollowing: follows };
          }
        }}
        empty={emptyText(reader, isOver, lines.length === 0 && reader.text.lines.length > 0)}
      />
    </section>
  );
}

interface BarProps {
  reader: LogReader;
  options: Signal<Options>;
  place: Signal<Pick<LogRequest, "from" | "bytes">>;
}

function LogBar({ reader, options, place }: BarProps) {
  const set = (changed: Partial<Options>) => options.value = { ...options.value, ...changed };
  const { streams, text, isWrapped, isFollowing } = options.value;
  const isAtEnd = place.value.from === "end";
  const goToEnd = () => {
    if (!isAtEnd) place.value = { from: "end", bytes: firstBytes };
    set({ isFollowing: true });
  };
  return (
    <div class="log-bar">
      <h2>Output</h2>
      <LiveMark reader={reader} />
      <input
        type="search"
        aria-label="Show only lines with this text"
        placeholder="Filter lines"
        value={text}
        onInput={(event) => set({ text: event.currentTarget.value })}
      />
      <select
        aria-label="Streams"
        value={streams}
        onChange={(event) => set({ streams: event.currentTarget.value as Options["streams"] })}
      >
        <option value="both">stdout and stderr</option>
        <option value="stdout">stdout</option>
        <option value="stderr">stderr</option>
      </select>
      <button type="button" aria-pressed={isWrapped} onClick={() => set({ isWrapped: !isWrapped })}>
        Wrap
      </button>
      <button
        type="button"
        aria-pressed={!isAtEnd}
        onClick={() => place.value = { from: "start", bytes: firstBytes }}
      >
        Start
      </button>
      <button type="button" aria-pressed={isAtEnd && isFollowing} onClick={goToEnd}>
        {reader.state.value === "live" ? "Follow" : "End"}
      </button>
    </div>
  );
}

function LiveMark({ reader }: { reader: LogReader }) {
  const state = reader.state.value;
  if (state === "live") return <span class="live">live</span>;
  if (state === "ended") return null;
  return <span class="quiet">{state === "loading" ? "loading…" : "trying again…"}</span>;
}

interface StretchProps extends Pick<BarProps, "reader" | "place"> {
  taskId: string;
  /** A component is drawn again only with other properties, and the reader stays the same. */
  version: number;
}

/** Which part of a long log is shown, with a button for more. */
function Stretch({ reader, place, taskId }: StretchProps) {
  const { from, bytes } = place.value;
  const { text } = reader;
  const size = text.end.stdout + text.end.stderr;
  const isPart = from === "end" ? text.hasEarlier : size >= bytes;
  if (!isPart) return null;
  const more = () => place.value = { from, bytes: bytes * 4 };
  return (
    <p class="stretch">
      {from === "end"
        ? `The last ${formatBytes(bytes)} of ${formatBytes(size)} and what came since.`
        : `The first ${formatBytes(bytes)}.`} {bytes < mostBytes
        ? (
          <button type="button" onClick={more}>
            {from === "end" ? "Show earlier output" : "Show more"}
          </button>
        )
        : <Command line={`agent task logs ${taskId}`} />}
    </p>
  );
}

function chosen(lines: LogLine[], streams: Options["streams"], text: string): LogLine[] {
  if (streams === "both" && text === "") return lines.slice();
  const wanted = text.toLowerCase();
  return lines.filter((line) =>
    (streams === "both" || line.stream === streams) &&
    (wanted === "" || line.text.toLowerCase().includes(wanted))
  );
}

function emptyText(reader: LogReader, isOver: boolean, isFiltered: boolean): string {
  if (isFiltered) return "No line matches.";
  if (reader.state.value === "loading") return "";
  return isOver ? "The attempt wrote nothing." : "Nothing has been written yet.";
}
