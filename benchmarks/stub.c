/*
 * The upstream that the benchmarks call: an HTTP/1.1 server on loopback that answers at once, so that what is measured
 * is the client. One thread, epoll, Linux.
 *
 *   cc -O2 -o stub stub.c && STUB_PORT=0 ./stub
 *
 * It prints its port (STUB_PORT=0 takes a free one) and ends when its standard input closes.
 *   POST .../chat/completions                       one fixed chat completion
 *   the same with "stream":true in the body         CHUNKS deltas and [DONE], each its own write
 *   anything else                                   404
 * Every answer fits into an empty socket buffer, so a write that does not take all of it closes the connection.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 4096, MAX_EVENTS = 256, MAX_REQUEST = 1 << 20, CHUNKS = 32 };

typedef struct {
    char *data;     /* what has arrived of the next request */
    size_t length;
    int chunks_due; /* of the stream that is being sent, [DONE] included */
} Connection;

static Connection connections[MAX_CONNECTIONS];
static int poller;

static const char COMPLETION[] =
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"gpt-4o-mini\",\"choices\":"
    "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello! How can I help you today?\"},"
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":9,\"total_tokens\":18}}";
static const char DELTA[] =
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o-mini\","
    "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"word \"},\"finish_reason\":null}]}\n\n";
static const char LAST[] =
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o-mini\","
    "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int operation, int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, operation, fd, &event) < 0) fail("epoll_ctl");
}

static void drop(int fd) {
    free(connections[fd].data);
    connections[fd] = (Connection){0};
    close(fd);
}

static int send_all(int fd, const char *data, size_t length) {
    return send(fd, data, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static int send_plain(int fd, const char *status, const char *body) {
    char answer[4096];
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                          status, strlen(body), body);
    return send_all(fd, answer, length);
}

static int send_chunk(int fd) {
    Connection *connection = &connections[fd];
    const char *data = --connection->chunks_due ? DELTA : LAST;
    char piece[1024];
    int length = snprintf(piece, sizeof piece, "%zx\r\n%s\r\n%s", strlen(data), data,
                          connection->chunks_due ? "" : "0\r\n\r\n");
    if (!connection->chunks_due) watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    return send_all(fd, piece, length);
}

static int start_stream(int fd) {
    static const char head[] =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    connections[fd].chunks_due = CHUNKS + 1;
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT); /* one chunk each time round the loop: streams advance side by side */
    return send_all(fd, head, sizeof head - 1);
}

/* The size of the request at the start of the buffer, 0 while it is incomplete. */
static size_t request_size(const Connection *connection, char **body) {
    char *end = memmem(connection->data, connection->length, "\r\n\r\n", 4);
    if (!end) return 0;
    *body = end + 4;
    *end = 0; /* so that the search for the header stays inside the head */
    const char *header = strcasestr(connection->data, "\r\ncontent-length:");
    *end = '\r';
    size_t size = (size_t)(*body - connection->data) + (header ? strtoul(header + 17, NULL, 10) : 0);
    return size <= connection->length ? size : 0;
}

static int answer(int fd, char *body, size_t body_length) {
    const char *line_end = memchr(connections[fd].data, '\r', body - connections[fd].data);
    if (!memmem(connections[fd].data, line_end - connections[fd].data, "/chat/completions ", 18))
        return send_plain(fd, "404 Not Found", "{\"error\":{\"message\":\"no such path\"}}");
    if (memmem(body, body_length, "\"stream\":true", 13) || memmem(body, body_length, "\"stream\": true", 14))
        return start_stream(fd);
    return send_plain(fd, "200 OK", COMPLETION);
}

static int receive(int fd) {
    Connection *connection = &connections[fd];
    ssize_t got = recv(fd, connection->data + connection->length, MAX_REQUEST - connection->length, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    connection->length += got;
    char *body;
    size_t size = request_size(connection, &body);
    if (!size) return connection->length < MAX_REQUEST;
    int open = answer(fd, body, connection->data + size - body);
    connection->length -= size;
    memmove(connection->data, connection->data + size, connection->length);
    return open;
}

static void welcome(int listener) {
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return;
    if (fd >= MAX_CONNECTIONS) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections[fd].data = malloc(MAX_REQUEST + 1); /* pages that are not touched cost nothing */
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 1024) < 0) fail("listen");
    getsockname(fd, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(void) {
    const char *port = getenv("STUB_PORT");
    struct epoll_event events[MAX_EVENTS];
    poller = epoll_create1(0);
    int listener = listen_on(port ? atoi(port) : 0);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    watch(EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN);
    for (;;) {
        int count = epoll_wait(poller, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO) return 0;
            if (fd == listener) welcome(fd);
            else if (events[i].events & (EPOLLERR | EPOLLHUP)) drop(fd);
            else if (!(connections[fd].chunks_due ? send_chunk(fd) : receive(fd))) drop(fd);
        }
    }
}
