/**
 * Text of tokens that come one by one.
 *
 * @module
 */

/** What turns token numbers into text: a `Tokenizer`. */
export interface Decodes {
  /** The text of token numbers; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: Iterable<number>): string | Promise<string>;
}

/** What a character looks like while some of its bytes are still to come. */
const UNFINISHED = /\uFFFD$/;

/**
 * The text of a sequence that grows by tokens. Nothing is given out that a later token may change: a
 * character waits for all its bytes, and what may become a stop string waits until it is none.
 */
export class TextStream {
  readonly #tokenizer: Decodes;
  readonly #stops: readonly string[];
  readonly #longest: number;
  readonly #ids: number[] = [];
  /**
   * Tokens from `#from` on are decoded together with the new ones, because a tokenizer may treat the
   * first of a text otherwise; those before `#known` are in the text already.
   */
  #from = 0;
  #known = 0;
  #text = "";
  #given = 0;
  #stopped = false;

  /**
   * Begins with no token.
   *
   * @param stops Strings that end the text before them; none of them may be empty.
   */
  constructor(tokenizer: Decodes, stops: readonly string[] = []) {
    this.#tokenizer = tokenizer;
    this.#stops = stops;
    this.#longest = Math.max(0, ...stops.map(({ length }) => length));
  }

  /** All the text so far, up to the stop string. */
  get text(): string {
    return this.#text;
  }

  /** Whether a stop string has come. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Adds a token; wait for it before the next one. */
  async add(id: number): Promise<void> {
    this.#ids.push(id);
    await this.#decode(false);
  }

  /** The text that is new since the last call, and will stay. */
  take(): string {
    return this.#give(this.#stopped ? this.#text.length : this.#text.length - this.#held());
  }

  /** No token will come any more: the rest of the text, characters that were never whole included. */
  async end(): Promise<string> {
    await this.#decode(true);
    return this.#give(this.#text.length);
  }

  #give(end: number): string {
    const given = this.#text.slice(this.#given, end);
    this.#given = Math.max(this.#given, end);
    return given;
  }

  async #decode(last: boolean): Promise<void> {
    if (this.#stopped || this.#known === this.#ids.length) return;
    const known = await this.#tokenizer.decode(this.#ids.slice(this.#from, this.#known));
    const all = await this.#tokenizer.decode(this.#ids.slice(this.#from));
    if (!last && (UNFINISHED.test(all) || all.length <= known.length)) return;
    const searched = Math.max(0, this.#text.length - this.#longest + 1);
    this.#text += all.slice(known.length);
    this.#from = this.#known;
    this.#known = this.#ids.length;
    const found = this.#stops.map((stop) => this.#text.indexOf(stop, searched))
      .filter((at) => at >= 0);
    if (found.length === 0) return;
    this.#text = this.#text.slice(0, Math.min(...found));
    this.#stopped = true;
  }

  /** How many of the last characters may be the beginning of a stop string. */
  #held(): number {
    for (let n = Math.min(this.#longest - 1, this.#text.length); n > 0; n--) {
      const end = this.#text.slice(-n);
      if (this.#stops.some((stop) => stop.startsWith(end))) return n;
    }
    return 0;
  }
}
