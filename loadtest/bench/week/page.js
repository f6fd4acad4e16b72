// Has a headless browser open a page and writes what the page says, a line each: node page.js DEBUGGER-URL PAGE-URL
//
// Once the page is there nobody touches it, except that each line of standard input has it opened anew.
'use strict'
const { Page } = require('../../../tests/outside/devtools.js')
const { setTimeout: after } = require('node:timers/promises')
const [debuggerUrl, pageUrl] = process.argv.slice(2)

const AGAIN = 1000 // milliseconds until the page is tried again that could not be opened
const TITLE = `new Promise(done => document.readyState === 'complete' ? done() : window.addEventListener('load', done))
  .then(() => document.title)`

// The page's own words, and the status of an event stream that was refused: the page itself is not told.
function listen (page) {
  page.on('Runtime.consoleAPICalled', params => console.log(params.args[0].value))
  page.on('Network.responseReceived', params => {
    if (params.type !== 'EventSource' || params.response.status === 200) return
    const { status, headers } = params.response
    const reason = headers['X-Relay-Error'] ?? headers['x-relay-error'] ?? ''
    console.log(JSON.stringify(['refused', `${status} ${reason}`.trim()]))
  })
}

async function watch () {
  const page = await Page.of(debuggerUrl)
  page.socket.on('close', () => process.exit(1))
  listen(page)
  for (const domain of ['Page', 'Runtime', 'Network']) await page.call(`${domain}.enable`)
  const open = async () => {
    for (;; await after(AGAIN)) {
      await page.call('Page.navigate', { url: pageUrl })
      const found = await page.call('Runtime.evaluate', { expression: TITLE, awaitPromise: true })
      if (found.result?.value === 'events') return
    }
  }
  await open()
  for await (const _line of process.stdin) await open()
}

watch().catch(error => { console.error(error); process.exit(1) })
