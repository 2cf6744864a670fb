/** A look that may be asked for at any time: looks never overlap, and one that is asked for during another follows it. */
export class SerialLook {
  readonly #look: () => Promise<void>;
  readonly #onFailure: (thrown: unknown) => void;
  #looking = false;
  #again = false;

  constructor(look: () => Promise<void>, onFailure: (thrown: unknown) => void) {
    this.#look = look;
    this.#onFailure = onFailure;
  }

  request(): void {
    if (this.#looking) {
      this.#again = true;
      return;
    }
    this.#looking = true;
    this.#look()
      .catch(this.#onFailure)
      .finally(() => {
        this.#looking = false;
        if (!this.#again) return;
        this.#again = false;
        this.request();
      });
  }
}
