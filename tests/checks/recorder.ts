/** A recorder of events: one monotonic clock for all participants of a run. */

/** An event. A section is one holder's time inside, named by a number of its own. */
export type Event =
  & { readonly at: number; readonly key: string; readonly client: number; readonly section: number }
  & (
    | { readonly kind: "enter"; readonly fence: number | undefined }
    | { readonly kind: "told" } // its signal aborted, or it asked and was refused
    | { readonly kind: "exit" } // it is about to release
  );

type NewEvent = Event extends infer E ? E extends Event ? Omit<E, "at"> : never : never;

export class Recorder {
  readonly events: Event[] = [];
  #sections = 0;

  section(): number {
    return this.#sections++;
  }

  note(event: NewEvent): void {
    this.events.push({ ...event, at: performance.now() } as Event);
  }
}
