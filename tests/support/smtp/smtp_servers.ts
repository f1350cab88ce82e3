/** Real SMTP servers (the `smtp-server` package) in a Node process of their own, and what they have taken. */
import { TextLineStream } from "./lines.ts";
import type { Identity } from "./certificates.ts";

/** One server. Whatever else is given goes to the package as it is. */
export interface ServerSettings {
  readonly security: "none" | "starttls" | "tls";
  /** The ways to authenticate it offers and then demands; none by default. */
  readonly methods?: readonly ("PLAIN" | "LOGIN" | "XOAUTH2")[];
  /** Its certificate. */
  readonly identity?: Identity | undefined;
  /** Whether it tells only that it took a message. */
  readonly quiet?: boolean;
  readonly [option: string]: unknown;
}

/** A message a server has taken. */
export interface Taken {
  /** The server. */
  readonly index: number;
  readonly from: string;
  readonly to: readonly string[];
  /** The parameters of MAIL FROM. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly user?: string;
  readonly secure: boolean;
  /** The number of the connection. */
  readonly connection: string;
  /** The message as it was sent, in base64. */
  readonly raw: string;
}

/** Running servers. */
export interface SmtpServers extends AsyncDisposable {
  /** The port of each, on 127.0.0.1. */
  readonly ports: readonly number[];
  /** The messages that they have taken so far, once there are at least so many. */
  taken(atLeast: number): Promise<readonly Taken[]>;
}

/** Starts them. */
export async function startSmtpServers(settings: readonly ServerSettings[]): Promise<SmtpServers> {
  const child = new Deno.Command("node", {
    args: [new URL("./_smtp_servers.mjs", import.meta.url).pathname, JSON.stringify(settings)],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const all: Taken[] = [];
  let notify = () => {};
  let started!: (ports: readonly number[]) => void;
  const ready = new Promise<readonly number[]>((resolve) => started = resolve);
  const reading = (async () => {
    for await (const line of child.stdout.pipeThrough(new TextLineStream())) {
      const value = JSON.parse(line);
      if (value.ports) started(value.ports);
      else {
        all.push(value);
        notify();
      }
    }
    started([]);
  })();
  const ports = await ready;
  if (ports.length !== settings.length) throw new Error("the SMTP servers did not start");
  return {
    ports,
    async taken(atLeast) {
      while (all.length < atLeast) await new Promise<void>((resolve) => notify = resolve);
      return all;
    },
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await reading;
      await child.status;
    },
  };
}
