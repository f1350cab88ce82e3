/** The part of an outbox that the laws of both kinds use. */
import type { OutboxEntry, OutboxState } from "../outbox/outbox.ts";

/** The entries of an outbox, or those in one state. */
export async function entriesOf(
  box: { list(options?: { readonly state?: OutboxState }): AsyncIterable<OutboxEntry> },
  state?: OutboxState,
): Promise<OutboxEntry[]> {
  const all: OutboxEntry[] = [];
  for await (const entry of box.list(state && { state })) all.push(entry);
  return all;
}

/** Drains until nothing waits, and adds the reports up; `none` is a report of nothing. */
export async function drained<Report extends { readonly nextAfter: number | undefined }>(
  box: { drain(): Promise<Report> },
  none: Report,
  wait: (ms: number) => Promise<void>,
): Promise<Report> {
  const sum: Record<string, number> = { ...none } as unknown as Record<string, number>;
  for (;;) {
    const { nextAfter, ...counts } = await box.drain();
    for (const [name, count] of Object.entries(counts)) sum[name]! += count as number;
    if (nextAfter === undefined) return { ...sum, nextAfter } as unknown as Report;
    await wait(nextAfter + 1);
  }
}
