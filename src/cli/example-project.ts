/** What `wakeful init` writes: a pipeline of two stages that works at once, small enough to be read whole. */
export const exampleFiles: readonly { readonly path: string; readonly text: string; readonly executable: boolean }[] = [
  {
    path: "wakeful.yaml",
    executable: false,
    text: `# Counts the words of the text files that appear in ./in and writes a report into ./out.
# \`wakeful config check\` checks this file, \`wakeful up\` starts the daemon.
dataDir: ./data
http: { listen: 127.0.0.1:7070 }
worker: { concurrency: 4 }

pipelines:
  words:
    intake:
      watch: ./in
      match: ["*.txt"]
      archiveDir: ./archive         # where a file goes when its item is done
      errorDir: ./error             # and where it goes when it was refused
    stages:
      count:
        run: { command: [node, steps/count.js] }
        heartbeat: { timeout: 60s } # hung when it shows no progress for longer
        timeout: 10m
        attempts: 3
        maxLosses: 3                # a crash of machine or worker is a loss, not an attempt; the third holds the job for a person
        gate: { file: counts.json, minBytes: 2, startsWith: "{" }
        next: report
      report:
        run: { command: [node, steps/report.js] }
        env: { OUT_DIR: ./out }
        heartbeat: { timeout: 60s }
        timeout: 10m
        attempts: 3
        maxLosses: 3
`,
  },
  {
    path: "steps/count.js",
    executable: false,
    text: `// A stage is any command. It gets its input as JSON, works in the item's directory and says by its exit code how it went.
import { closeSync, openSync, readFileSync, renameSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const { WAKEFUL_INPUT_FILE: inputFile, WAKEFUL_WORK_DIR: workDir, WAKEFUL_HEARTBEAT_FILE: heartbeatFile } = process.env;
const { input } = JSON.parse(readFileSync(inputFile, "utf8"));

// Touching this file proves progress; a long loop does it now and then.
const beat = () => {
  closeSync(openSync(heartbeatFile, "a"));
  utimesSync(heartbeatFile, new Date(), new Date());
};

beat();
const words = readFileSync(input.file, "utf8").split(/\\s+/).filter(Boolean).length;
// Written aside and renamed: the gate never sees half a file.
const counts = join(workDir, "counts.json");
writeFileSync(\`\${counts}.new\`, JSON.stringify({ name: input.name, words }));
renameSync(\`\${counts}.new\`, counts);
console.log(\`\${input.name} has \${words} words\`);
`,
  },
  {
    path: "steps/report.js",
    executable: false,
    text: `import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const { WAKEFUL_WORK_DIR: workDir, WAKEFUL_HEARTBEAT_FILE: heartbeatFile, OUT_DIR: outDir } = process.env;
// It takes a moment, so the first heartbeat is the only one.
writeFileSync(heartbeatFile, \`\${new Date().toISOString()} start\\n\`);
mkdirSync(outDir, { recursive: true });
const { name, words } = JSON.parse(readFileSync(join(workDir, "counts.json"), "utf8"));
// Written aside and renamed: a run that dies half-way leaves no half report, and its repetition the same one.
const report = join(outDir, \`\${name}.report\`);
writeFileSync(\`\${report}.new\`, \`\${name}: \${words} words\\n\`);
renameSync(\`\${report}.new\`, report);
console.log("reported");
`,
  },
  { path: "package.json", executable: false, text: '{ "private": true, "type": "module" }\n' },
  { path: "in/hello.txt", executable: false, text: "Whatever falls over is picked up again.\n" },
];
