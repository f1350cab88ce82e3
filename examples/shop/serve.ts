/** The shop for Deno Deploy and `deno serve -A examples/shop/serve.ts`: on the Deno KV of the place it runs in. */
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { createShop } from "./shop.ts";

const shop = createShop({ store: denoKvStore(await Deno.openKv()) });

export default { fetch: shop.fetch } satisfies Deno.ServeDefaultExport;
