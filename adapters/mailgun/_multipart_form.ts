import { inPieces, type LazyBytes, type Piece } from "../../src/mail/pieces.ts";

/**
 * A form of known length whose files are not copied, which a `FormData` does. Names and media types must be
 * free of quotes and line breaks: the message's own checks see to it.
 *
 * @see https://www.rfc-editor.org/rfc/rfc7578
 */
export class MultipartForm {
  readonly #boundary = `holdfast-${crypto.randomUUID()}`;
  readonly #pieces: Piece[] = [];

  /** The media type of the body. */
  get contentType(): string {
    return `multipart/form-data; boundary=${this.#boundary}`;
  }

  /** Adds a field. */
  field(name: string, value: string): void {
    this.#pieces.push(`${this.#head(name)}\r\n\r\n`, value.replace(/\r\n?|\n/g, "\r\n"), "\r\n");
  }

  /** Adds a file. */
  file(name: string, filename: string, type: string, content: Uint8Array<ArrayBuffer> | LazyBytes): void {
    const head = `${this.#head(name)}; filename="${filename}"\r\nContent-Type: ${type}\r\n\r\n`;
    this.#pieces.push(head, content, "\r\n");
  }

  /** The form as bytes. */
  body(): LazyBytes {
    return inPieces([...this.#pieces, `--${this.#boundary}--\r\n`]);
  }

  #head(name: string): string {
    return `--${this.#boundary}\r\nContent-Disposition: form-data; name="${name}"`;
  }
}
