/**
 * Removes what could command a terminal: escape sequences, control characters other than tab and line feed, and marks that change the
 * direction of text. Output of jobs and file names come from others.
 */
export class ControlStripper {
  #state: "text" | "escape" | "sequence" | "string" | "stringEscape" = "text";

  /** Works on a stream: a sequence may begin in one piece and end in the next. */
  push(piece: string): string {
    let kept = "";
    for (const char of piece) {
      if (this.#keeps(char, char.codePointAt(0) ?? 0)) kept += char;
    }
    return kept;
  }

  #keeps(char: string, code: number): boolean {
    switch (this.#state) {
      case "text":
        return this.#keepsText(code);
      case "escape":
        // CSI goes on until a final byte; OSC, DCS, SOS, PM and APC until a string terminator; intermediate bytes wait for a final one.
        if (char === "[") this.#state = "sequence";
        else if ("]PX^_".includes(char)) this.#state = "string";
        else if (code < 0x20 || code > 0x2f) this.#state = "text";
        return false;
      case "sequence":
        if (code >= 0x40 && code <= 0x7e) this.#state = "text";
        // A line feed ends a broken sequence, so that one stray byte cannot swallow the rest of a log.
        if (char !== "\n") return false;
        this.#state = "text";
        return true;
      case "string":
        if (code === 0x07 || code === 0x9c) this.#state = "text";
        else if (code === 0x1b) this.#state = "stringEscape";
        if (char !== "\n") return false;
        this.#state = "text";
        return true;
      case "stringEscape":
        this.#state = char === "\\" ? "text" : "string";
        return false;
    }
  }

  #keepsText(code: number): boolean {
    if (code === 0x1b) this.#state = "escape";
    else if (code === 0x9b) this.#state = "sequence";
    else if (code === 0x9d || code === 0x90) this.#state = "string";
    const control = (code < 0x20 && code !== 0x0a && code !== 0x09) || (code >= 0x7f && code <= 0x9f);
    const turnsDirection = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code === 0x200e || code === 0x200f;
    return !control && !turnsDirection;
  }
}

/** A whole text without terminal controls. */
export const withoutControls = (text: string): string => new ControlStripper().push(text);
