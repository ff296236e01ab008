/** Outlines of 16 units; the text beside them, or a label, says what they mean. */
const paths = {
  cluster: "M3 3h4v4H3zM9 9h4v4H9zM7 5h4v4",
  tasks: "M6 4h7M6 8h7M6 12h7M3 4h.01M3 8h.01M3 12h.01",
  workers: "M3 3h10v4H3zM3 9h10v4H3zM5.5 5h.01M5.5 11h.01",
  copy: "M6 6h7v7H6zM10 6V3H3v7h3",
  check: "M3 8.5l3.5 3.5L13 4.5",
  close: "M4 4l8 8M12 4l-8 8",
  back: "M10 3L5 8l5 5",
  open: "M6 4h6v6M12 4L4 12",
} as const;

export function Icon({ name }: { name: keyof typeof paths }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
