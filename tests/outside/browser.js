// Watches a page in a headless browser over its debugging port: node browser.js DEBUGGER-URL PAGE-URL
//
// The page is the demo's. Its event stream must show at least two events, and what is typed into its form must come
// back from the echo WebSocket.
const { connect } = require('./devtools')
const { setTimeout: after } = require('node:timers/promises')
const [debuggerUrl, pageUrl] = process.argv.slice(2)

async function watch () {
  const { socket, call } = await connect(debuggerUrl)
  const evaluate = async expression => (await call('Runtime.evaluate', { expression })).result?.value
  const until = async (what, expression) => {
    for (let tries = 0; tries < 150; tries++, await after(100)) {
      if (await evaluate(expression) === true) return
    }
    throw new Error(`not within 15 s: ${what}; the page is ${await evaluate('document.documentElement.outerHTML')}`)
  }
  await call('Page.enable')
  await call('Page.navigate', { url: pageUrl })
  await until('the page is there', 'document.readyState === "complete" && document.querySelector("h1")?.textContent === "It works"')
  await until('the event stream is open', 'document.getElementById("stream").classList.contains("on")')
  await until('two events', '/event \\d+\\n[^]*event \\d+\\n/.test(document.getElementById("events").textContent)')
  await until('the WebSocket is open', 'document.getElementById("socket").classList.contains("on")')
  await evaluate('document.getElementById("text").value = "typed here"; document.getElementById("say").requestSubmit()')
  await until('the echo', 'document.getElementById("echoes").textContent.includes("\u2190 typed here")')
  await until('the headers', '[...document.querySelectorAll("tr.relayed th")].some(th => th.textContent === "x-forwarded-for")')
  socket.close()
  console.log('page, event stream, WebSocket echo and the relayed headers')
}

watch().catch(error => { console.error(error); process.exit(1) })
