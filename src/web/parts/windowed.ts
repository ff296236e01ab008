/** Which rows of a long list are on the screen: only these are drawn. */
import { useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect } from "preact/hooks";

/** Rows drawn beyond each edge, so that a quick scroll does not show gaps. */
const beyond = 12;

export interface RowWindow {
  first: number;
  /** Exclusive. */
  last: number;
}

/**
 * @param list the element that holds the rows.
 * @param rowHeight in pixels.
 * @param scrolls what scrolls the rows: the list itself, or the page.
 */
export function useRowWindow(
  list: RefObject<HTMLElement | null>,
  count: number,
  rowHeight: number,
  scrolls: "self" | "page",
): RowWindow {
  const shown = useSignal<RowWindow>({ first: 0, last: Math.min(count, 60) });
  const measure = () => {
    const element = list.current;
    if (element === null) return;
    const hidden = scrolls === "self"
      ? element.scrollTop
      : Math.max(0, -element.getBoundingClientRect().top);
    const height = scrolls === "self" ? element.clientHeight : innerHeight;
    const first = Math.max(0, Math.floor(hidden / rowHeight) - beyond);
    const last = Math.min(count, Math.ceil((hidden + height) / rowHeight) + beyond);
    const before = shown.peek();
    if (before.first !== first || before.last !== last) shown.value = { first, last };
  };
  useLayoutEffect(measure, [count, rowHeight]);
  useEffect(() => {
    // Scroll events do not bubble: listen in the capture phase.
    const options = { capture: true, passive: true };
    addEventListener("scroll", measure, options);
    addEventListener("resize", measure);
    return () => {
      removeEventListener("scroll", measure, options);
      removeEventListener("resize", measure);
    };
  }, [count, rowHeight]);
  return {
    first: Math.min(shown.value.first, count),
    last: Math.min(shown.value.last, count),
  };
}
