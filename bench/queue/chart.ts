export interface Bar {
  readonly label: string;
  readonly value: number;
  /** Ours stand out. */
  readonly ours: boolean;
}

export interface BarGroup {
  readonly title: string;
  readonly bars: readonly Bar[];
}

export interface Chart {
  readonly title: string;
  /** Machine, versions, date: what the figures are worth nothing without. */
  readonly notes: readonly string[];
  readonly groups: readonly BarGroup[];
}

const width = 860;
const left = 300;
const right = 90;
const barHeight = 16;
const barStep = 24;

/** The chart brings its own background, so that it can be read on a light page and on a dark one, whatever the reader prefers. */
const style = `
  .page { fill: #ffffff } text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-size: 16px; font-weight: 600 }
  .group { font-weight: 600 } .note { font-size: 11px; fill: #59636e } .ours { fill: #1f6feb } .peer { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .note { fill: #9198a1 } .ours { fill: #4493f8 } .peer { fill: #6e7681 }
  }`;

/** Lying bars on one scale from zero, the longest over the whole width. */
export function barChart({ title, notes, groups }: Chart): string {
  const longest = Math.max(...groups.flatMap(({ bars }) => bars.map(({ value }) => value)));
  const parts: string[] = [text(16, 30, "title", title)];
  let y = 62;
  for (const group of groups) {
    parts.push(text(16, y, "group", group.title));
    y += 12;
    for (const { label, value, ours } of group.bars) {
      const length = Math.max(1, Math.round((value / longest) * (width - left - right)));
      parts.push(
        `<text x="${left - 10}" y="${y + 13}" text-anchor="end">${escaped(label)}</text>`,
        `<rect class="${ours ? "ours" : "peer"}" x="${left}" y="${y}" width="${length}" height="${barHeight}" rx="2"/>`,
        text(left + length + 8, y + 13, ours ? "group" : "value", grouped(value)),
      );
      y += barStep;
    }
    y += 26;
  }
  for (const note of notes) {
    parts.push(text(16, y, "note", note));
    y += 16;
  }
  const height = y + 4;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">
<style>${style}
</style>
<rect class="page" width="${width}" height="${height}" rx="6"/>
${parts.join("\n")}
</svg>
`;
}

/** `12,300`; below ten with one decimal. */
export const grouped = (value: number): string =>
  (value < 10 ? value.toFixed(1) : String(Math.round(value))).replaceAll(/\B(?=(\d{3})+(?!\d))/g, ",");

const text = (x: number, y: number, kind: string, content: string): string =>
  `<text class="${kind}" x="${x}" y="${y}">${escaped(content)}</text>`;

const escaped = (content: string): string => content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
