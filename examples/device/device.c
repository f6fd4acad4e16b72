/* A device behind a firewall, reachable through a relay: cc -pthread -o device device.c && ./device HOST PORT DOMAIN
 *
 * It dials out, waits, answers one request a connection, and needs nothing but POSIX. */
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 2 }; /* while one serves a client, another waits for the next */
enum { SILENCE = 75 }; /* seconds: a relay that is there says something every 70 */
enum { LINGER = 2, LEFTOVER = 1 << 20 }; /* seconds and bytes that a client may go on sending after its answer */
enum { FIRST_PAUSE = 100, LONGEST_PAUSE = 10000 }; /* milliseconds between attempts that fail */
enum { LINE = 16400 }; /* a request's head has at most 16 KiB */
static const char *host, *port, *domain;

static FILE *dial(void) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    struct timeval silence = {.tv_sec = SILENCE};
    int fd = -1;
    if (getaddrinfo(host, port, &hints, &found) != 0) return NULL;
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        if ((fd = socket(at->ai_family, at->ai_socktype, 0)) < 0) continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence);
        if (connect(fd, at->ai_addr, at->ai_addrlen) != 0) fd = close(fd) - 1;
    }
    freeaddrinfo(found);
    return fd < 0 ? NULL : fdopen(fd, "r");
}

/* Reads up to the blank line; keeps the first line and returns the length of the body, or -1 at the end. */
static long read_head(FILE *relay, char first[LINE]) {
    char line[LINE];
    long length = 0;
    for (*first = 0; fgets(line, LINE, relay) && strchr(line, '\n');) {
        line[strcspn(line, "\r\n")] = 0;
        if (!*line) return length;
        if (!*first) strcpy(first, line);
        if (strncasecmp(line, "Content-Length:", 15) == 0) length = atol(line + 15);
    }
    return -1;
}

/* Returns NULL or, as serve does, what went wrong. */
static const char *answer(FILE *relay) {
    char request[LINE], body[LINE + 64];
    long left = read_head(relay, request);
    if (left < 0) return "the relay ended the connection";
    for (size_t n; left > 0; left -= n) {
        n = fread(body, 1, left < LINE ? left : LINE, relay);
        if (n == 0) return "the client left in the middle of its request, or was silent";
    }
    int length = snprintf(body, sizeof body, "hello from a device in C, %s\n", request);
    if (strncmp(request, "HEAD ", 5) == 0) *body = 0;
    int sent = dprintf(fileno(relay), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n"
                       "Content-Length: %d\r\n\r\n%s", length, body);
    return sent < 0 ? "the answer could not be sent" : NULL;
}

/* Ends a connection. Closed while there is unread input it would be reset, and the answer could be lost. */
static void finish(int fd) {
    char bytes[4096];
    struct pollfd input = {.fd = fd, .events = POLLIN};
    time_t until = time(NULL) + LINGER;
    shutdown(fd, SHUT_WR);
    for (ssize_t n, left = LEFTOVER; left > 0 && time(NULL) <= until && poll(&input, 1, LINGER * 1000) > 0; left -= n)
        if ((n = read(fd, bytes, sizeof bytes)) <= 0) return;
}

static const char *serve(FILE *relay, long *pause) {
    char said[LINE];
    do { /* a 204 says that nobody came: ask again */
        dprintf(fileno(relay), "POST /%s HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: %s\r\n\r\n",
                domain, host);
        if (read_head(relay, said) < 0) return "the relay ended the connection, or was silent";
        if (strncmp(said, "HTTP/1.1 101", 12) && strncmp(said, "HTTP/1.1 204", 12)) return "the relay refused";
        *pause = FIRST_PAUSE;
    } while (said[9] == '2');
    const char *trouble = answer(relay);
    if (!trouble) finish(fileno(relay));
    return trouble;
}

static void *keep_serving(void *unused) {
    for (long pause = FIRST_PAUSE;;) {
        FILE *relay = dial();
        const char *trouble = relay ? serve(relay, &pause) : "the relay cannot be reached";
        if (relay) fclose(relay);
        if (!trouble) continue;
        unsigned random = 0;
        if (getentropy(&random, sizeof random) != 0) random = time(NULL);
        long wait = pause / 2 + random % (pause / 2 + 1); /* or all devices would be back at once when the relay is */
        fprintf(stderr, "%s; trying again in %.3f s\n", trouble, wait / 1e3);
        poll(NULL, 0, wait);
        pause = 2 * pause < LONGEST_PAUSE ? 2 * pause : LONGEST_PAUSE;
    }
    return unused;
}

int main(int argc, char **argv) {
    pthread_t thread;
    if (argc != 4) return fprintf(stderr, "usage: %s HOST PORT DOMAIN\n", argv[0]), 2;
    host = argv[1], port = argv[2], domain = argv[3];
    signal(SIGPIPE, SIG_IGN); /* a write to a connection that has ended shall fail, not end this program */
    for (int n = 1; n < CONNECTIONS; n++)
        if (pthread_create(&thread, NULL, keep_serving, NULL) != 0) return perror("pthread_create"), 1;
    keep_serving(NULL);
}
