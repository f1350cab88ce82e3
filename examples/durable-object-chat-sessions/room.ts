/** A room: its last messages, and a WebSocket for each listener. It believes the front door who speaks. */
import { DurableObject } from "cloudflare:workers";

interface Message {
  readonly user: string;
  readonly text: string;
}

/** The part of the object's state that a room uses. */
interface RoomState {
  acceptWebSocket(socket: WebSocket): void;
  getWebSockets(): WebSocket[];
  readonly storage: {
    get<T>(key: string): Promise<T | undefined>;
    put(key: string, value: unknown): Promise<void>;
  };
}

declare const WebSocketPair: new () => { 0: WebSocket; 1: WebSocket };

export class Room extends DurableObject {
  readonly #state: RoomState;

  constructor(state: RoomState, env: unknown) {
    super(state as never, env as never);
    this.#state = state;
  }

  async fetch(request: Request): Promise<Response> {
    if (request.headers.get("upgrade") === "websocket") {
      const { 0: client, 1: server } = new WebSocketPair();
      this.#state.acceptWebSocket(server);
      return new Response(null, { status: 101, webSocket: client } as ResponseInit);
    }
    const messages = await this.#state.storage.get<Message[]>("messages") ?? [];
    if (request.method !== "POST") return Response.json(messages);
    const message = {
      user: request.headers.get("x-user") ?? "",
      text: (await request.text()).slice(0, 1000),
    };
    await this.#state.storage.put("messages", [...messages, message].slice(-50));
    for (const socket of this.#state.getWebSockets()) socket.send(JSON.stringify(message));
    return Response.json(message, { status: 201 });
  }
}
