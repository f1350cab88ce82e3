/** The clients of Redis that people have, each over a real server or cluster, and how they end. */
import { Cluster, Redis } from "ioredis";
import { createClient, createClientPool, createCluster } from "redis";
import type { RedisClient } from "@holdfast/edge/redis";

/** A connected client. */
export interface Connected extends AsyncDisposable {
  readonly client: RedisClient;
}

async function ended(redis: Redis | Cluster): Promise<void> {
  const over = new Promise((resolve) => redis.once("end", resolve));
  redis.disconnect();
  await over;
}

/** Clients of one server. */
export const clients: Record<string, (port: number) => Promise<Connected>> = {
  async "Redis, ioredis"(port) {
    const client = new Redis(port, "127.0.0.1", { lazyConnect: true });
    await client.connect();
    return { client, [Symbol.asyncDispose]: () => ended(client) };
  },
  async "Redis, node-redis"(port) {
    const client = createClient({ url: `redis://127.0.0.1:${port}` });
    await client.connect();
    return { client, [Symbol.asyncDispose]: () => Promise.resolve(client.destroy()) };
  },
  async "Redis, node-redis pool"(port) {
    const client = createClientPool({ url: `redis://127.0.0.1:${port}` });
    await client.connect();
    return { client, [Symbol.asyncDispose]: () => Promise.resolve(client.destroy()) };
  },
};

/** Clients of a cluster. */
export const clusterClients: Record<string, (ports: readonly number[]) => Promise<Connected>> = {
  async "Redis Cluster, ioredis"(ports) {
    const client = new Cluster(ports.map((port) => ({ host: "127.0.0.1", port })), { lazyConnect: true });
    await client.connect();
    return { client, [Symbol.asyncDispose]: () => ended(client) };
  },
  async "Redis Cluster, node-redis"(ports) {
    const client = createCluster({ rootNodes: ports.map((port) => ({ url: `redis://127.0.0.1:${port}` })) });
    await client.connect();
    return { client, [Symbol.asyncDispose]: () => Promise.resolve(client.destroy()) };
  },
};
