/** A body whose reader gives up, under a lock: the source hears the reader's own reason. Web APIs alone. */
import { memoryStore } from "@holdfast/edge";
import { withLock } from "@holdfast/edge/http";

/** Reads the first chunk of a text without a type, cancels the rest, and answers what both sides saw. */
export async function scenario(): Promise<unknown> {
  const heard: unknown[] = [];
  const text = () =>
    new Response(
      new ReadableStream<Uint8Array>({
        pull: (controller) => controller.enqueue(new TextEncoder().encode("text")),
        cancel: (reason) => void heard.push(reason),
      }),
    );
  const handler = withLock(text, { store: memoryStore(), key: () => "one", until: "body" });
  const response = await handler(new Request("https://shop.example/"));
  const reader = response.body!.getReader();
  const { value } = await reader.read();
  await reader.cancel("enough");
  return { first: new TextDecoder().decode(value), heard };
}
