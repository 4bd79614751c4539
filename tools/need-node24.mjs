// npm scripts find the project's own Node first; this says so when, for whatever reason, they do not.
const major = Number(process.versions.node.split('.')[0])
if (major < 24) {
  console.error(`this needs Node.js 24 or newer and found ${process.version}; run "npm ci" first`)
  process.exit(1)
}
