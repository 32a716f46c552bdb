/**
 * Says as one JSON line which adapter WebGPU opens with the environment that this process has. Which adapter
 * that is, the environment decides once for a process, so that the doctor asks one process for each.
 *
 * @module
 */
const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
const { description = "", vendor = "", device = "" } = adapter?.info ?? {};
console.log(JSON.stringify(adapter ? { name: description, vendor, device } : null));
