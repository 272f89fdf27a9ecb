/* The load: connections that each send a message, wait for the whole answer, and send the message again.
 *
 *     load PORT CONNECTIONS BYTES|http|http-once SECONDS
 *
 * A message of BYTES bytes comes back unchanged; all answers to "http", a GET request, are as long as the
 * first. "http-once" is the same with a new connection for each request, which the server closes. Prints
 * "begin" when there was an answer for each connection and some time has passed, and then the number of
 * answers and the seconds that took. Ends with its standard input. It never sleeps: waking it would cost the
 * server more time than some answers, and a load on another machine would not be woken by the server. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static void must(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        exit(1);
    }
}

static int connection_to(int port)
{
    static int number;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    /* From many addresses: one address has too few ports for connections that are used only once. */
    const struct sockaddr_in own = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + number++ % 250)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    must(fd >= 0, "socket");
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    must(bind(fd, (const struct sockaddr *)&own, sizeof(own)) == 0, "bind");
    must(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0, "connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

#define HEAD "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\nAccept: */*\r\n"
static const char *request = HEAD "\r\n";

/* Returns the length of the answer to a request. */
static int length_of_answer(int port)
{
    static char answer[65536];
    const int fd = connection_to(port);
    must(send(fd, request, strlen(request), 0) == (ssize_t)strlen(request), "send");
    int got = 0;
    for (;;) {
        const ssize_t more = recv(fd, answer + got, sizeof(answer) - 1 - got, 0);
        must(more > 0, "recv");
        got += (int)more;
        answer[got] = 0;
        const char *const body = strstr(answer, "\r\n\r\n"), *const length = strcasestr(answer, "Content-Length:");
        if (body == NULL) {
            continue;
        }
        must(length != NULL, "the answer has no Content-Length");
        const int all = (int)(body + 4 - answer) + atoi(length + strlen("Content-Length:"));
        if (got == all) {
            close(fd);
            return all;
        }
    }
}

/* Makes a new connection and sends its first message. */
static void begin_one(int poll, int port, int connections, int *missing, int bytes, const char *message, int length)
{
    const int fd = connection_to(port);
    must(fd < connections + 64, "descriptors");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    must(epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
    missing[fd] = bytes;
    must(send(fd, message, length, 0) == length, "send");
}

int main(int argc, char **argv)
{
    must(argc == 5, "load PORT CONNECTIONS BYTES|http|http-once SECONDS");
    const int port = atoi(argv[1]), connections = atoi(argv[2]);
    const int http = strncmp(argv[3], "http", 4) == 0, once = strcmp(argv[3], "http-once") == 0;
    const double seconds = atof(argv[4]);
    if (once) {
        request = HEAD "Connection: close\r\n\r\n";
    }
    const int length = http ? (int)strlen(request) : atoi(argv[3]);
    const int bytes = http ? length_of_answer(port) : length;
    const char *const message = http ? request : calloc(1, length);
    char *const answer = malloc(bytes);
    int *const missing = calloc(connections + 64, sizeof(int)); /* by descriptor */
    const int poll = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
        begin_one(poll, port, connections, missing, bytes, message, length);
    }
    long messages = 0;
    double begin = 0;
    const double warm = now() + 0.3;
    for (;;) {
        struct epoll_event events[64];
        const int ready = epoll_wait(poll, events, 64, 0);
        for (int i = 0; i < ready; i++) {
            const int fd = events[i].data.fd;
            const ssize_t got = recv(fd, answer, bytes, MSG_DONTWAIT);
            must(got > 0 || (once && got == 0), "recv");
            missing[fd] -= (int)got;
            must(missing[fd] >= 0 && (got > 0 || missing[fd] == 0), "the answer");
            if (once && got == 0) {
                messages++;
                close(fd);
                begin_one(poll, port, connections, missing, bytes, message, length);
            }
            else if (!once && missing[fd] == 0) {
                messages++;
                missing[fd] = bytes;
                must(send(fd, message, length, 0) == length, "send");
            }
        }
        const double time = now();
        if (begin == 0 && time >= warm && messages >= connections) {
            puts("begin");
            fflush(stdout);
            begin = time;
            messages = 0;
        }
        if (begin != 0 && time >= begin + seconds) {
            printf("%ld %f\n", messages, time - begin);
            fflush(stdout);
            getchar(); /* the connections stay open until the server was measured */
            return 0;
        }
    }
}
