import { useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { segments } from "../log/colours.ts";
import type { LogRow } from "../log/log_rows.ts";
import type { LogLine } from "../log/log_text.ts";
import { useRowWindow } from "../parts/windowed.ts";

interface LogBoxProps {
  label: string;
  /** The rows for this number of columns. */
  rowsFor: (columns: number) => LogRow[];
  /** Another value where the rows have changed. */
  changed: unknown;
  isWrapped: boolean;
  /** Keeps the last row in view. */
  isFollowing: boolean;
  /** Which end of the log is shown. */
  from: "start" | "end";
  onFollow: (isFollowing: boolean) => void;
  empty: string;
}

/** Measured by a probe of this many letters. */
const probeLetters = 100;

/** A window on the rows of a log: only those on the screen are drawn. */
export function LogBox(props: LogBoxProps) {
  const box = useRef<HTMLDivElement>(null);
  const probe = useRef<HTMLSpanElement>(null);
  const { columns, rowHeight } = useCells(box, probe);
  const { changed, isWrapped, isFollowing, from } = props;
  const rows = useMemo(() => props.rowsFor(columns), [changed, columns, isWrapped]);
  const { first, last } = useRowWindow(box, rows.length, rowHeight, "self");
  const fromEnd = useRef(0);
  const firstLine = useRef<LogLine | undefined>(undefined);
  const before = useRef<LogBoxProps["from"] | undefined>(undefined);
  useLayoutEffect(() => {
    const element = box.current!;
    const line = rows[0]?.line;
    const isMoved = firstLine.current !== undefined && firstLine.current !== line;
    if (from === "end" && isFollowing) element.scrollTop = element.scrollHeight;
    else if (from === "start" && before.current !== from) element.scrollTop = 0;
    // Earlier lines came in above: what is being read stays where it is.
    else if (from === "end" && isMoved) element.scrollTop = element.scrollHeight - fromEnd.current;
    firstLine.current = line;
    if (isMoved || before.current === undefined) before.current = from;
  }, [rows, isFollowing, rowHeight]);
  const onScroll = () => {
    const element = box.current!;
    const below = element.scrollHeight - element.scrollTop - element.clientHeight;
    fromEnd.current = element.scrollHeight - element.scrollTop;
    props.onFollow(below < rowHeight * 2);
  };
  return (
    <div
      ref={box}
      class={`log-box ${isWrapped ? "wrapped" : ""}`}
      role="log"
      // What is drawn changes as the log moves: read aloud it would be all of it each time.
      aria-live="off"
      aria-label={props.label}
      tabIndex={0}
      onScroll={onScroll}
    >
      <span ref={probe} class="probe" aria-hidden="true">{"0".repeat(probeLetters)}</span>
      {rows.length === 0 && <p class="quiet">{props.empty}</p>}
      <div class="log-space" style={{ height: `${rows.length * rowHeight}px` }}>
        <div class="log-rows" style={{ transform: `translateY(${first * rowHeight}px)` }}>
          {rows.slice(first, last).map((row, at) => <Row key={first + at} row={row} />)}
        </div>
      </div>
    </div>
  );
}

function Row({ row: { line, from, to } }: { row: LogRow }) {
  const isError = line.stream === "stderr";
  return (
    <div class={isError ? "log-row stderr" : "log-row"}>
      {isError && from === 0 && <span class="unseen">stderr:</span>}
      {segments(line, from, to).map(({ text, classes, style }, at) =>
        classes === "" && Object.keys(style).length === 0
          ? text
          : <span key={at} class={classes} style={style}>{text}</span>
      )}
    </div>
  );
}

/** How many letters fit into a row, and how high it is; both follow the size of the page. */
function useCells(box: RefObject<HTMLElement | null>, probe: RefObject<HTMLElement | null>) {
  const cells = useSignal({ columns: 0, rowHeight: 18 });
  useEffect(() => {
    const measure = () => {
      // The observer may call once more after the page is gone.
      if (probe.current === null || box.current === null) return;
      const letter = probe.current.getBoundingClientRect();
      if (letter.width === 0) return;
      const style = getComputedStyle(probe.current);
      const room = box.current.clientWidth - 2 * parseFloat(style.paddingInlineStart);
      const columns = Math.max(20, Math.floor(room / (letter.width / probeLetters)));
      const rowHeight = letter.height;
      const before = cells.peek();
      if (before.columns !== columns || before.rowHeight !== rowHeight) {
        cells.value = { columns, rowHeight };
      }
    };
    const observer = new ResizeObserver(measure);
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  return cells.value;
}
