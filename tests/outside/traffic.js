// What a page (tests/outside/devtools.js) asks for over the network, and what becomes of it.
class Traffic {
  constructor (page) {
    this.clear()
    page.on('Network.requestWillBeSent', ({ requestId, request, type }) => {
      this.all.set(requestId, { url: request.url, method: request.method, type, done: false })
    })
    page.on('Network.responseReceived', ({ requestId, response }) => this.add(requestId, { status: response.status }))
    page.on('Network.responseReceivedExtraInfo', ({ statusCode }) => { this.unmodified += statusCode === 304 })
    page.on('Network.loadingFinished', ({ requestId }) => this.add(requestId, { done: true }))
    page.on('Network.loadingFailed', ({ requestId, errorText }) => this.add(requestId, { done: true, errorText }))
    page.on('Network.webSocketCreated', ({ requestId, url }) => this.all.set(requestId, { url, frames: 0 }))
    page.on('Network.webSocketHandshakeResponseReceived', ({ requestId, response }) =>
      this.add(requestId, { status: response.status }))
    page.on('Network.webSocketFrameReceived', ({ requestId }) =>
      this.add(requestId, { frames: this.all.get(requestId)?.frames + 1 }))
    page.on('Network.webSocketFrameError', ({ requestId, errorMessage }) =>
      this.add(requestId, { errorText: errorMessage }))
    page.on('Runtime.exceptionThrown', ({ exceptionDetails }) => this.exceptions.push(exceptionDetails))
  }

  clear () {
    this.all = new Map()
    this.exceptions = []
    // How many responses were a 304.
    this.unmodified = 0
  }

  add (requestId, more) {
    // What was asked for before clear() does not count.
    if (this.all.has(requestId)) Object.assign(this.all.get(requestId), more)
  }

  requests () {
    return [...this.all.values()].filter(one => one.method !== undefined)
  }

  sockets () {
    return [...this.all.values()].filter(one => one.frames !== undefined)
  }

  // What failed, went anywhere but below `root`, or was thrown in the page.
  faults (root) {
    const elsewhere = url => !url.replace(/^ws/, 'http').startsWith(root)
    const bad = one => one.errorText !== undefined || one.status >= 400 || elsewhere(one.url)
    return [...[...this.all.values()].filter(bad), ...this.exceptions]
  }
}

module.exports = { Traffic }
