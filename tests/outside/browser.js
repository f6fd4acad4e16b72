// Watches a page in a headless browser over its debugging port: node browser.js DEBUGGER-URL PAGE-URL
//
// The page is the demo's. Its event stream must show at least two events, and what is typed into its form must come
// back from the echo WebSocket.
const { Page } = require('./devtools.js')
const [debuggerUrl, pageUrl] = process.argv.slice(2)

async function watch () {
  const page = await Page.of(debuggerUrl)
  await page.call('Page.enable')
  await page.call('Page.navigate', { url: pageUrl })
  await page.until('the page is there', 'document.readyState === "complete" && document.querySelector("h1")?.textContent === "It works"')
  await page.until('the event stream is open', 'document.getElementById("stream").classList.contains("on")')
  await page.until('two events', '/event \\d+\\n[^]*event \\d+\\n/.test(document.getElementById("events").textContent)')
  await page.until('the WebSocket is open', 'document.getElementById("socket").classList.contains("on")')
  await page.evaluate('document.getElementById("text").value = "typed here"; document.getElementById("say").requestSubmit()')
  await page.until('the echo', 'document.getElementById("echoes").textContent.includes("\u2190 typed here")')
  await page.until('the headers', '[...document.querySelectorAll("tr.relayed th")].some(th => th.textContent === "x-forwarded-for")')
  page.close()
  console.log('page, event stream, WebSocket echo and the relayed headers')
}

watch().catch(error => { console.error(error); process.exit(1) })
