/** A server of the app under Deno, Node or Bun. */
import { largeApp } from "./_large_app.ts";
import { listen } from "./_listen.ts";

await listen(largeApp());
