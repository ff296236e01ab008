import { signal } from "@preact/signals";
import type { UnansweredView } from "../views.ts";

/** Coordinators that are missing in the newest list of tasks or workers. */
export const unanswered = signal<UnansweredView[]>([]);
