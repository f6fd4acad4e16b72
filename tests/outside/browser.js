// Watches a page in a headless browser over its debugging port: node browser.js DEBUGGER-URL PAGE-URL
//
// The page is the demo's. Its event stream must show at least two events, and what is typed into its form must come
// back from the echo WebSocket.
const WebSocket = require('ws')
const http = require('node:http')
const { setTimeout: after } = require('node:timers/promises')
const [debuggerUrl, pageUrl] = process.argv.slice(2)

const json = url => new Promise((resolve, reject) => http.get(url, response => {
  let text = ''
  response.on('data', data => { text += data }).on('end', () => resolve(JSON.parse(text)))
}).on('error', reject))

async function watch () {
  const page = (await json(`${debuggerUrl}/json`)).find(target => target.type === 'page')
  const socket = new WebSocket(page.webSocketDebuggerUrl)
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
  const replies = new Map()
  let last = 0
  socket.on('message', data => {
    const { id, result, error } = JSON.parse(data)
    if (replies.has(id)) replies.get(id)(result ?? error)
  })
  const call = (method, params) => new Promise(resolve => {
    socket.send(JSON.stringify({ id: ++last, method, params }))
    replies.set(last, resolve)
  })
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
