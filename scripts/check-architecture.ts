import { findViolations } from "./architecture.ts";
import { reportFindings } from "./report-findings.ts";
import { readSources } from "./source-tree.ts";

const files = readSources({ folders: ["src"], endings: [".ts", ".tsx"] });
reportFindings("architecture", files.length, findViolations(files));
