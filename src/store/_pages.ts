/** Every key, page by page: how a store lists. */
import type { KeyValueStore, ListOptions, ListPage } from "./key_value_store.ts";

export async function* pages(store: KeyValueStore, options: ListOptions | undefined): AsyncIterable<string> {
  let cursor: string | undefined;
  do {
    const page: ListPage = await store.listPage({ ...options, cursor });
    yield* page.keys;
    cursor = page.cursor;
  } while (cursor !== undefined);
}
