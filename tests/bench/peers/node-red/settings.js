// The least that a headless Node-RED needs; function nodes may use files.
module.exports = {
  uiPort: process.env.PORT,
  uiHost: "127.0.0.1",
  httpAdminRoot: false,
  functionGlobalContext: { fs: require("fs"), path: require("path") },
  logging: { console: { level: "info", metrics: false, audit: false } },
};
