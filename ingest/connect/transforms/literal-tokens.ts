/**
 * Tokens of a literal: each of `: , { } [ ] "` alone, unless a backslash stands before it, and what lies between them. Blanks
 * around a token that is looked for do not count; a token that was looked at is given again.
 */
import { javaTrim } from '../java/numbers.ts'

const DELIMITERS = ':,{}[]"'

export class LiteralTokens {
  readonly text: string
  private at = 0
  private seen: string | undefined

  constructor(text: string) {
    this.text = text
  }

  hasNext(): boolean {
    return this.seen !== undefined || this.at < this.text.length
  }

  next(): string {
    const token = this.seen ?? this.read()
    this.seen = undefined
    return token
  }

  /** The text of so many tokens; undefined, and nothing is taken, when there are fewer. */
  nextOf(count: number): string | undefined {
    const start = this.mark()
    for (let i = 0; i < count; i += 1) {
      if (!this.hasNext()) {
        this.rewind(start)
        return undefined
      }
      this.next()
    }
    return this.text.slice(start, this.at)
  }

  mark(): number {
    return this.at - (this.seen?.length ?? 0)
  }

  rewind(position: number): void {
    this.at = position
    this.seen = undefined
  }

  /** Takes the next token if it is this one. */
  take(expected: string): boolean {
    if (!this.hasNext()) return false
    this.seen ??= this.read()
    while (javaTrim(this.seen) === '' && this.at < this.text.length) this.seen = this.read()
    if (javaTrim(this.seen) !== expected) return false
    this.seen = undefined
    return true
  }

  private read(): string {
    const start = this.at
    let isEscaped = false
    while (this.at < this.text.length) {
      const char = this.text[this.at]
      if (DELIMITERS.includes(char) && !isEscaped) {
        if (this.at === start) this.at += 1
        return this.text.slice(start, this.at)
      }
      isEscaped = char === '\\' && !isEscaped
      this.at += 1
    }
    return this.text.slice(start)
  }
}
