/**
 * Holdfast on MongoDB: one collection of the official driver, a versioned document a key.
 *
 * ```ts ignore
 * import { MongoClient } from "mongodb";
 * import { createLocks } from "@holdfast/edge";
 * import { mongodbStore } from "@holdfast/edge/mongodb";
 *
 * const client = await MongoClient.connect(url);
 * const store = mongodbStore(client.db("app").collection("holdfast", { writeConcern: { w: "majority" } }));
 * await store.migrate();
 * await using lock = await createLocks(store).acquire("job:nightly", { ttl: "30s" });
 * ```
 *
 * **Guarantees.** Atomic per key; durable as the write concern says. Deadlines go by the callers' clocks.
 *
 * @module
 */

export {
  type MongodbCollection,
  type MongodbStore,
  mongodbStore,
  type MongodbStoreOptions,
} from "./mongodb_store.ts";
