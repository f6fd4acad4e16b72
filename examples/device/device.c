/* A device behind a firewall, reachable through a relay: cc -o device device.c && ./device HOST PORT DOMAIN
 *
 * It dials out, waits, and answers one request a connection. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static int dial(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, port, &hints, &found) != 0) return -1;
    int fd = socket(found->ai_family, found->ai_socktype, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) fd = close(fd) - 1;
    freeaddrinfo(found);
    return fd;
}

/* Reads up to and including a blank line, cut to `room`; returns Content-Length, or -1 when the relay is gone. */
static long read_head(int fd, char *head, size_t room) {
    size_t len = 0;
    for (char c[4] = ""; memcmp(c, "\r\n\r\n", 4) != 0; head[len] = 0) {
        memmove(c, c + 1, 3);
        if (read(fd, c + 3, 1) != 1) return -1;
        if (len + 1 < room) head[len++] = c[3];
    }
    for (char *line = head; (line = strstr(line, "\r\n")); line += 2)
        if (strncasecmp(line + 2, "content-length:", 15) == 0) return atol(line + 17);
    return 0;
}

static int serve_one(int fd, const char *host, const char *domain) {
    char head[4096], body[256], c;
    do { /* a 204 says that nobody came: ask again */
        dprintf(fd, "POST /%s HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: %s\r\n\r\n", domain, host);
        if (read_head(fd, head, sizeof head) < 0) return -1;
    } while (strncmp(head + 9, "204", 3) == 0);
    if (strncmp(head + 9, "101", 3) != 0) return fprintf(stderr, "the relay answered %.3s\n", head + 9), -1;
    long length = read_head(fd, head, sizeof head);
    if (length < 0) return -1;
    while (length-- > 0 && read(fd, &c, 1) == 1) {}
    int n = snprintf(body, sizeof body, "hello from a device in C, %.*s\n", (int)strcspn(head, "\r"), head);
    n = n < (int)sizeof body ? n : (int)sizeof body - 1;
    return dprintf(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%.*s", n, n, body) < 0 ? -1 : 0;
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: %s HOST PORT DOMAIN\n", argv[0]), 2;
    for (;;) {
        int fd = dial(argv[1], argv[2]);
        if (fd < 0 || serve_one(fd, argv[1], argv[3]) < 0) sleep(1);
        if (fd >= 0) close(fd);
    }
}
